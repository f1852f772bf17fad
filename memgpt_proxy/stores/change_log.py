"""What the replicas of a fleet tell each other: per namespace, the changes of late, in order.

Whoever remembers something of a namespace knows its *position* in the log, and follows from
there before it answers from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from memgpt_proxy.stores.changes import Change
from memgpt_proxy.stores.records import Namespace, Owner

Position = NewType("Position", str)
"""Names an entry of a log; what comes behind it has not been followed yet."""

NOWHERE = Position("")
"""The position of one who has not followed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change.

    Attributes:
        at: Its position.
        upon: Where its writer stood when it began to write. Changes behind that were written
            at the same time, and the store may have taken them in another order.
    """

    at: Position
    upon: Position
    change: Change


@dataclass(frozen=True, slots=True)
class News:
    """What there is behind a position.

    Attributes:
        position: Where to follow on from.
        entries: What others have written, oldest first.
        recent: Somebody else wrote a moment ago: a search might not find it yet.
    """

    position: Position
    entries: Sequence[Entry] = ()
    recent: bool = False


class ChangeLog(Protocol):
    """The changes of all namespaces. Every call raises StoreUnavailable where it is away.

    None in place of news is a gap: entries behind the position may have been lost, and what
    was remembered there is worth nothing.
    """

    async def join(self, namespace: Namespace) -> News:
        """Return the log's end, to be followed from; read the store after that."""
        ...

    async def follow(self, namespace: Namespace, position: Position) -> News | None:
        """Return what is behind a position."""
        ...

    async def append(
        self, namespace: Namespace, change: Change, *, upon: Position, position: Position
    ) -> News | None:
        """Tell others of a change that is stored; return what was between it and ``position``."""
        ...

    async def forget(self, owner: Owner) -> None:
        """Forget all that was told of an owner's namespace: a gap behind all its positions."""
        ...

    async def ping(self) -> None:
        """Return when it answers."""
        ...

    async def void(self) -> None:
        """Make a gap behind all positions of all namespaces."""
        ...
