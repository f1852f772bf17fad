"""Records on their way from one store to another: everything that a namespace owns, as it is.

What is exported of an owner and taken over elsewhere makes the same answers there. An owner is
named by what stands for its namespace: a store does not know the namespace itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from memgpt_proxy.stores.records import (
    Conversation,
    Holdings,
    Node,
    NodeId,
    Owner,
    Passage,
    QueueState,
    TurnId,
)

Mark = NewType("Mark", str)
"""Where an export stands; its form is the store's own."""

START = Mark("")


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage, and whether it is hidden."""

    passage: Passage
    hidden: bool


@dataclass(frozen=True, slots=True)
class ContextVersion:
    """One version of the working context: its history is all of them, from 1 on."""

    version: int
    content: str
    node: NodeId
    turn: TurnId


Portable = Node | QueueState | Conversation | StoredPassage | ContextVersion
"""A record as it is exported; each kind has a name of its own within its owner."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Some records of an owner, and the mark to go on from behind them."""

    records: Sequence[Portable]
    mark: Mark


class PortableStore(Protocol):
    """A store whose records can be moved."""

    def owners(self) -> AsyncIterator[Owner]:
        """Yield all owners, each once, in a steady order."""
        ...

    async def size(self, owner: Owner | None) -> int:
        """Return how many records an owner has, or all owners: to tell how far a move is."""
        ...

    def export(self, owner: Owner, after: Mark = START) -> AsyncIterator[Portion]:
        """Yield all records of an owner behind ``after``, in a steady order.

        A portion has a few hundred records at most. What is written meanwhile may or may not
        be among them.
        """
        ...

    async def take_over(self, owner: Owner, records: Sequence[Portable]) -> None:
        """Store records as they are, in place of those of the same name; durable on return."""
        ...


class ErasableStore(PortableStore, Protocol):
    """One whose records can be counted and removed, too, by whoever knows their owner."""

    async def erase_owner(self, owner: Owner) -> Holdings:
        """Remove all that an owner has, and see that nothing is left; see ``Store.erase``."""
        ...

    async def holdings(self, owner: Owner) -> Holdings:
        """Return how many records an owner has."""
        ...
