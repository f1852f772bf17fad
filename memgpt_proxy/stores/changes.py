"""What a write does to a namespace: what others are told of it, and what waits for a store.

A change can be carried out again: records have their own ids.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from memgpt_proxy.stores.records import (
    Known,
    NodeId,
    Passage,
    TurnId,
    TurnRecord,
    TurnState,
    WorkingContext,
)
from memgpt_proxy.values import dataclass


@dataclass(frozen=True, slots=True)
class Committed:
    """A turn has left something behind.

    Attributes:
        known: Which of its nodes were there before.
    """

    record: TurnRecord
    known: Known = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """Passages have come."""

    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Shown:
    """What these turns have stored was hidden, or shown again."""

    turns: Sequence[TurnId]
    hidden: bool


@dataclass(frozen=True, slots=True)
class Edited:
    """The working context has come to this version."""

    context: WorkingContext


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Something has changed; what, is better asked of the store."""


Change = Committed | Inserted | Shown | Edited | Uncertain


def are_elsewhere(changes: Sequence[Change], chain: Sequence[NodeId], state: TurnState) -> bool:
    """Return whether changes leave alone the messages that a read of a turn on ``chain`` found."""
    found = (*state.nodes, *state.after)
    read = {*chain, *(node.id for node in found), *(node.key for node in found)}
    return all(_is_elsewhere(change, read) for change in changes)


def _is_elsewhere(change: Change, read: Set[NodeId]) -> bool:
    match change:
        case Committed(record):
            if record.fork is not None or record.queues or record.unplaced or record.waited:
                return False
            written = [name for n in record.nodes for name in (n.id, n.key, n.parent)]
            return read.isdisjoint(written)
        case Inserted() | Shown() | Edited():
            return True
        case Uncertain():
            return False
