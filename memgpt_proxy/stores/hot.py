"""The hot state of namespaces in use, in process, in front of the embedded store.

A turn of a conversation in use reads nothing from disk. What is remembered changes only
through here: one process owns an embedded store.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from memgpt_proxy.stores.protocols import Store, StoreError
from memgpt_proxy.stores.records import (
    ContentId,
    ContextEdit,
    Conversation,
    Counts,
    Namespace,
    Node,
    NodeId,
    Page,
    Passage,
    TurnId,
    TurnRecord,
    TurnState,
    WorkingContext,
)
from memgpt_proxy.stores.remembered import Remembered

Result = TypeVar("Result")


Change = Callable[[Remembered], bool]
"""Does to what is remembered what a write has done; False where nobody can tell."""


@dataclass(slots=True, eq=False)
class _Reading:
    """A read under way.

    Attributes:
        changes: What was written meanwhile; the read may have seen it or not.
        void: It may have missed something that nobody can tell.
    """

    changes: list[Change] = field(default_factory=list)
    void: bool = False


class _Readings:
    """The reads under way, so that none of them brings back what was before a write."""

    def __init__(self) -> None:
        self._open: dict[Namespace, set[_Reading]] = {}
        self._uncertain: Counter[Namespace] = Counter()

    @contextmanager
    def reading(self, namespace: Namespace) -> Iterator[_Reading]:
        """Run a read; what it gives is told what is written meanwhile."""
        reading = _Reading(void=namespace in self._uncertain)
        readings = self._open.setdefault(namespace, set())
        readings.add(reading)
        try:
            yield reading
        finally:
            readings.discard(reading)
            if not readings:
                del self._open[namespace]

    def wrote(self, namespace: Namespace, change: Change) -> None:
        """Something was written."""
        for reading in self._open.get(namespace, ()):
            reading.changes.append(change)

    def forgot(self, namespace: Namespace) -> None:
        """Something was written, nobody knows what."""
        for reading in self._open.get(namespace, ()):
            reading.void = True

    def begin_uncertain(self, namespace: Namespace) -> None:
        """From now on something may be written, nobody knows when."""
        self._uncertain[namespace] += 1
        self.forgot(namespace)

    def end_uncertain(self, namespace: Namespace) -> None:
        """It is written, or will never be."""
        self._uncertain[namespace] -= 1
        if not self._uncertain[namespace]:
            del self._uncertain[namespace]
        self.forgot(namespace)


class HotStore:
    """A store that remembers what turns read and write, up to a size.

    Args:
        store: The store behind it; every write goes there first.
        max_bytes: Bound on what is remembered; the namespaces used last stay.
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._spaces: OrderedDict[Namespace, Remembered] = OrderedDict()
        self._size = 0
        self._readings = _Readings()
        self._cancelled: set[asyncio.Task[None]] = set()

    @property
    def degraded(self) -> bool:
        """Whether the store behind is."""
        return self._store.degraded

    def changed_elsewhere(self, namespace: Namespace) -> None:
        """Forget what was remembered of it."""
        self._forget(namespace)
        self._readings.forgot(namespace)
        self._store.changed_elsewhere(namespace)

    async def open(self) -> None:
        """Open the store behind."""
        await self._store.open()

    async def close(self) -> None:
        """Let writes end that were cancelled, then close the store behind."""
        await asyncio.gather(*self._cancelled)
        await self._store.close()

    async def ping(self) -> None:
        """Ask the store behind."""
        await self._store.ping()

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """Read a turn, from memory if everything it needs is there."""
        hot = self._used(namespace)
        if hot is not None and (known := hot.read_turn(chain, enough)) is not None:
            if known.counts is not None or known.queue is not None:
                return known
            return replace(known, counts=await self.counts(namespace))
        with self._readings.reading(namespace) as reading:
            state = await self._store.read_turn(namespace, chain, enough=enough)
        if not reading.void:
            self._learn(namespace, chain, state, reading.changes)
        if (hot := self._spaces.get(namespace)) is None:
            return state
        return replace(state, context=max(hot.context, state.context, key=_version))

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        """Return messages from memory if all of them are there."""
        hot = self._used(namespace)
        if hot is not None and (known := hot.path(node, length)) is not None:
            return known
        return await self._store.path(namespace, node, length)

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        """Return what follows from memory if all of it is there."""
        hot = self._used(namespace)
        if hot is not None and (known := hot.after(node)) is not None:
            return known
        return await self._store.after(namespace, node)

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        """Ask the store behind."""
        return await self._store.with_content(namespace, contents, limit=limit)

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        """Return the conversation, from memory if it is there."""
        if (hot := self._used(namespace)) is not None and name in hot.conversations:
            return hot.conversations[name]
        with self._readings.reading(namespace) as reading:
            found = await self._store.conversation(namespace, name)
        if not reading.void and (hot := self._spaces.get(namespace)) is not None:
            hot.know_conversation(name, found)
            self._change(namespace, hot, reading.changes)
        return found

    async def commit(self, namespace: Namespace, record: TurnRecord) -> None:
        """Store, then remember."""
        committed = self._store.commit(namespace, record)
        await self._write(namespace, committed, lambda hot, _: hot.commit(record))

    async def search_messages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Ask the store behind."""
        return await self._store.search_messages(
            namespace, query, limit=limit, offset=offset, without=without
        )

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        return await self._store.messages_between(namespace, start, end, limit=limit, offset=offset)

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store; some may have been known, so the store has to be asked for the count."""
        inserted = self._store.insert_passages(namespace, passages)
        await self._write(namespace, inserted, _counts_unknown)

    async def search_passages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Ask the store behind."""
        return await self._store.search_passages(
            namespace, query, limit=limit, offset=offset, without=without
        )

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Hide; nobody knows how many."""
        hidden = self._store.hide_passages(namespace, turns)
        await self._write(namespace, hidden, _counts_unknown)

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Show; nobody knows how many."""
        shown = self._store.show_passages(namespace, turns)
        await self._write(namespace, shown, _counts_unknown)

    async def context(self, namespace: Namespace) -> WorkingContext:
        """Return the working context, from memory if it is there."""
        hot = self._spaces.get(namespace)
        return hot.context if hot else await self._store.context(namespace)

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        """Ask the store behind."""
        return await self._store.context_at(namespace, version)

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        """Store, then remember; what was remembered is forgotten when it proves stale."""

        def remember(hot: Remembered, written: WorkingContext) -> bool:
            hot.context = max(hot.context, written, key=_version)
            return True

        written = self._store.write_context(namespace, expected, content, node, turn)
        return await self._write(namespace, written, remember)

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        """Ask the store behind."""
        return await self._store.edits(namespace, turns)

    async def counts(self, namespace: Namespace) -> Counts:
        """Return the counts, from memory if they are there."""
        if (hot := self._used(namespace)) is not None and hot.counts is not None:
            return hot.counts
        with self._readings.reading(namespace) as reading:
            counts = await self._store.counts(namespace)
        if not reading.void and (hot := self._spaces.get(namespace)) is not None:
            hot.counts = None if reading.changes else counts
        return counts

    async def _write(
        self,
        namespace: Namespace,
        write: Coroutine[Any, Any, Result],
        remember: Callable[[Remembered, Result], bool],
    ) -> Result:
        """Carry out a write and remember what it did."""
        try:
            result = await write
        except asyncio.CancelledError:  # it may be carried out yet
            self._forget(namespace)
            self._readings.begin_uncertain(namespace)
            task = asyncio.get_running_loop().create_task(self._end_uncertain(namespace))
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)
            raise
        except StoreError:
            self._forget(namespace)
            self._readings.forgot(namespace)
            raise

        def change(hot: Remembered) -> bool:
            return remember(hot, result)

        self._readings.wrote(namespace, change)
        if (hot := self._used(namespace)) is not None:
            self._change(namespace, hot, [change])
        return result

    async def _end_uncertain(self, namespace: Namespace) -> None:
        """Wait for the writes asked for so far: an embedded store takes them in order."""
        with suppress(StoreError):  # then none of them is under way either
            await self._store.ping()
        self._readings.end_uncertain(namespace)

    def _learn(
        self,
        namespace: Namespace,
        chain: Sequence[NodeId],
        state: TurnState,
        changes: Sequence[Change],
    ) -> None:
        hot = self._spaces.get(namespace)
        if hot is None:
            hot = self._spaces[namespace] = Remembered(state.context, state.counts)
        elif changes:  # what is remembered has them already, and may be ahead of this
            return
        self._spaces.move_to_end(namespace)
        hot.learn(chain, state)
        if changes:
            hot.counts = None  # the state may have counted what they stored
        self._change(namespace, hot, changes)

    def _change(self, namespace: Namespace, hot: Remembered, changes: Sequence[Change]) -> None:
        """Make changes; where one cannot be told, nothing is remembered any more."""
        if all(change(hot) for change in changes):
            self._measure(hot)
        else:
            self._forget(namespace)

    def _used(self, namespace: Namespace) -> Remembered | None:
        if (hot := self._spaces.get(namespace)) is not None:
            self._spaces.move_to_end(namespace)
        return hot

    def _measure(self, hot: Remembered) -> None:
        """Count what a namespace takes by now, and make room."""
        self._size += hot.size - hot.counted
        hot.counted = hot.size
        while self._size > self._max_bytes:
            self._forget(next(iter(self._spaces)))

    def _forget(self, namespace: Namespace) -> None:
        if (hot := self._spaces.pop(namespace, None)) is not None:
            self._size -= hot.counted


def _counts_unknown(hot: Remembered, _: None) -> bool:
    hot.counts = None
    return True


def _version(context: WorkingContext) -> int:
    return context.version
