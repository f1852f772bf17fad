"""What memory asks of a store. Every family of stores implements all of it.

Each call takes the namespace first: to forget it is a type error, not a leak.
Every write can be repeated, since records carry their own ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from memgpt_proxy.stores.portable import Portable
from memgpt_proxy.stores.records import (
    ContentId,
    ContextEdit,
    Conversation,
    Counts,
    Holdings,
    Known,
    Namespace,
    Node,
    NodeId,
    Page,
    Passage,
    Trace,
    TurnId,
    TurnRecord,
    TurnState,
    WorkingContext,
)


class StoreError(Exception):
    """A store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store is away, full or broken; the same call may work later."""


class StoreAway(StoreUnavailable):
    """The store is away, and nothing was done: it was not asked, or not for more than to read."""


class StoreFull(StoreUnavailable):
    """It takes no write, since its disk is full; it can be read."""


class Remains(StoreError):
    """Something of what was to be erased is there still: others go on to write it."""


class StaleVersion(StoreError):
    """The working context has changed since the version that an edit was made against."""


class TranscriptStore(Protocol):
    """The transcript tree: messages as nodes, and the queue states that hang on them."""

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """Find the longest known prefix of ``chain`` and read what a turn on it needs.

        Args:
            chain: The keys of all messages of the request, first to last; an id is a key
                too. Of several messages with one key, the newest is meant.
            enough: A hint: a known prefix of at least this length need not be longer, since
                what follows are the client's own new messages.
        """
        ...

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        """Return ``node`` and the messages before it, ``length`` at most, oldest first."""
        ...

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        """Return what follows a message in any branch, nearest first, ``MOST_AFTER`` at most.

        Of equally near messages the newest comes first. ``node`` may be the name of a
        conversation: its first messages follow that.
        """
        ...

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        """Return the newest messages that say one of ``contents``, ``limit`` at most of each.

        The newest of all comes first.
        """
        ...

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        """Return the conversation of this name."""
        ...

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        """Store what a turn leaves behind; whole and durable when it returns.

        Returns which of its nodes were there before.

        A record that cannot be stored leaves nothing behind. Where the store goes away midway,
        a part may be stored, no message before the one that it hangs on, and a repeat
        completes it.

        The record's new nodes are live, whatever its fork says. A node that is known already is
        left as it is, except that it becomes complete,
        with the new entries, when it was not, and that a complete reply of another turn
        in the same words replaces it, live. A queue state replaces an earlier one of the same
        node, and its node's ``queue`` then names itself. A conversation replaces the one
        of the same name.
        """
        ...


class RecallStore(Protocol):
    """Every message that was said."""

    async def search_messages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Search messages for words, "quoted phrases" and exact identifiers.

        Messages with all of the query's terms come newest first. Where no message
        has them all, those with any of them come best match first. Abandoned messages
        come after all others. The ids in ``without`` are then left out, of the total too.
        """
        ...

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Return the messages with ``start <= created < end``, newest first, abandoned last."""
        ...


class ArchivalStore(Protocol):
    """Passages: documents and notes of any length."""

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store passages; one whose id is known is left as it is. Found by the next search."""
        ...

    async def search_passages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Search passages as messages are searched, always best match first."""
        ...

    async def passages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Return the passages with ``start <= created < end``, newest first."""
        ...

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Take what these turns have stored out of searches and counts."""
        ...

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Put what was hidden of these turns back."""
        ...


class ContextStore(Protocol):
    """The working context, with its history."""

    async def context(self, namespace: Namespace) -> WorkingContext:
        """Return the working context as it is now; version 0 and empty if never written."""
        ...

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        """Return an earlier version; version 0 is empty. Raises StoreError if unknown."""
        ...

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        """Replace version ``expected`` by ``content``; the new version is one higher.

        Raises StaleVersion, and changes nothing, when the version is another by now.
        ``node`` is the message during whose turn the edit was made, ``turn`` that turn.
        """
        ...

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        """Return the edits that were made in these turns, oldest first."""
        ...


class TraceStore(Protocol):
    """What turns did, the newest of each namespace."""

    async def keep_traces(self, kept: Mapping[Namespace, Sequence[Trace]]) -> None:
        """Keep traces; one of a turn that has one is left as it is.

        Of a namespace ``MOST_TRACES`` are kept at least; older ones may be forgotten.
        """
        ...

    async def traces(
        self, namespace: Namespace, *, limit: int, before: tuple[float, TurnId] | None = None
    ) -> tuple[Trace, ...]:
        """Return traces, the newest first.

        Args:
            before: Begin behind the trace made at this time, of this turn.
        """
        ...


class Store(TranscriptStore, RecallStore, ArchivalStore, ContextStore, Protocol):
    """One family of stores, whole."""

    @property
    def degraded(self) -> bool:
        """Whether writes wait to be stored by now, and reads may lack what others have written."""
        ...

    def changed_elsewhere(self, namespace: Namespace) -> None:
        """Another process has just written to this namespace: the next searches are to find it."""
        ...

    def alone(self, *, alone: bool) -> None:
        """From now on nobody tells what other processes write, or somebody does again.

        Meanwhile every read and search is to find what they have written.
        """
        ...

    async def open(self) -> None:
        """Make it ready; create what is missing. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Finish what was asked, then let go of every resource."""
        ...

    async def ping(self) -> None:
        """Return when reads and writes work; else raise StoreUnavailable.

        StoreFull where only reads do, for want of room.
        """
        ...

    async def counts(self, namespace: Namespace) -> Counts:
        """Return how much external context holds."""
        ...

    async def erase(self, namespace: Namespace) -> Holdings:
        """Remove all that there is of a namespace, and see that nothing is left.

        Writes asked for before it are carried out first, and go too; what is written meanwhile
        may go or stay. Returns what there was.

        Raises:
            StoreUnavailable: A part may be gone; it can be repeated.
            Remains: Something is left, since others write all the time.
        """
        ...

    async def erased_at(self, namespace: Namespace) -> float:
        """Return when a namespace was last erased, in seconds since the epoch; 0.0 for never.

        What was made before that and comes to be stored only now is not to be stored. A store
        of one process, for which nothing waits anywhere else, need not know.
        """
        ...

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        """Store records as they are, in place of those of the same name; durable on return."""
        ...
