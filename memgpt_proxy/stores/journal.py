"""Journals: where writes wait, in order and safe from a crash, while their store is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from memgpt_proxy.stores.changes import Committed, Inserted, Shown
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Namespace, Owner

Waiting = Committed | Inserted | Shown
"""Changes that can wait. An edit of the working context cannot: it is made there and then,
against one version, or refused."""


class JournalFull(StoreUnavailable):
    """As many bytes wait as may."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One write that waits.

    Attributes:
        id: The journal's own name for it.
        namespace: Whose write it is.
        data: The change, as ``codec`` writes it.
    """

    id: str
    namespace: Namespace
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that count towards the journal's bound."""
        return len(self.data)


class Journal(Protocol):
    """Writes that wait, oldest first. Every call raises StoreUnavailable when it is away itself.

    Attributes:
        name: What it is called in logs.
        file: Where it is, if this machine alone has it; None where other processes reach it.
    """

    name: str
    file: Path | None

    async def open(self) -> None:
        """Make it ready."""
        ...

    async def close(self) -> None:
        """Let go of every resource; what waits stays."""
        ...

    async def append(self, namespace: Namespace, change: Waiting) -> None:
        """Keep a write behind all others; durable when it returns.

        Raises JournalFull, and keeps nothing, where it would be more than may wait.
        """
        ...

    async def take_over(self, entries: Sequence[Entry]) -> None:
        """Keep entries of another journal behind all others, in order; durable when it returns.

        Raises JournalFull, and keeps none of them, where it would be more than may wait.
        """
        ...

    async def keeps(self) -> bool:
        """Return whether what waits survives the end of what it is kept by."""
        ...

    async def waiting(self) -> int:
        """Return how many entries wait."""
        ...

    async def lead(self) -> bool:
        """Return whether this process, and no other, may drain it: for now, so ask often."""
        ...

    async def resign(self) -> None:
        """Let another process drain it, if this one may."""
        ...

    async def oldest(self, limit: int, behind: Entry | None = None) -> Sequence[Entry]:
        """Return the entries that have waited longest, ``limit`` at most, oldest first.

        Args:
            behind: Of those that have come after this one.
        """
        ...

    async def done(self, entries: Sequence[Entry]) -> None:
        """The store has them: they wait no longer."""
        ...

    async def forget(self, owner: Owner) -> None:
        """Remove all writes of an owner, put aside or not, and what the journal keeps of them."""
        ...

    async def put_aside(self, entry: Entry) -> None:
        """The store will never take it: keep it apart, where it holds nothing up."""
        ...

    async def aside(self) -> Sequence[Entry]:
        """Return what is put aside."""
        ...

    async def forget_aside(self, entries: Sequence[Entry]) -> None:
        """Remove these of what is put aside."""
        ...
