"""The hot state of namespaces in use, in process, in front of the embedded store.

A turn of a conversation in use reads nothing from disk. What is remembered changes only
through here: one process owns an embedded store.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
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


@dataclass(slots=True, eq=False)
class _Reading:
    """A read under way; ``overtaken`` once a write to its namespace has ended meanwhile."""

    overtaken: bool = False


class _Overlaps:
    """Tells which reads a write may have overtaken, so that nothing stale is remembered."""

    def __init__(self) -> None:
        self._readings: dict[Namespace, set[_Reading]] = {}
        self._writing: Counter[Namespace] = Counter()

    @contextmanager
    def reading(self, namespace: Namespace) -> Iterator[Callable[[], bool]]:
        """Run a read; what it gives says whether no write has overlapped with it so far."""
        reading = _Reading()
        readings = self._readings.setdefault(namespace, set())
        readings.add(reading)
        try:
            yield lambda: not reading.overtaken and namespace not in self._writing
        finally:
            readings.discard(reading)
            if not readings:
                del self._readings[namespace]

    def begin_writing(self, namespace: Namespace) -> None:
        """A write is about to be asked for."""
        self._writing[namespace] += 1

    def end_writing(self, namespace: Namespace) -> None:
        """A write has ended, and what it did is remembered."""
        self._writing[namespace] -= 1
        if not self._writing[namespace]:
            del self._writing[namespace]
        for reading in self._readings.get(namespace, ()):
            reading.overtaken = True


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
        self._overlaps = _Overlaps()
        self._cancelled: set[asyncio.Task[None]] = set()

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
            return known
        with self._overlaps.reading(namespace) as is_current:
            state = await self._store.read_turn(namespace, chain, enough=enough)
            if is_current():
                self._learn(namespace, chain, state)
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
        with self._overlaps.reading(namespace) as is_current:
            found = await self._store.conversation(namespace, name)
            if is_current() and (hot := self._spaces.get(namespace)) is not None:
                hot.know_conversation(name, found)
                self._measure(hot)
        return found

    async def commit(self, namespace: Namespace, record: TurnRecord) -> None:
        """Store, then remember; after a fork, which changes many messages, begin anew."""

        def remember(hot: Remembered, _: None) -> None:
            hot.commit(record)

        committed = self._store.commit(namespace, record)
        await self._write(namespace, committed, None if record.fork else remember)

    async def search_messages(
        self, namespace: Namespace, query: str, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        return await self._store.search_messages(namespace, query, limit=limit, offset=offset)

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        return await self._store.messages_between(namespace, start, end, limit=limit, offset=offset)

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store; some may have been known, so the store has to be asked for the count."""

        def remember(hot: Remembered, _: None) -> None:
            hot.counts = None

        await self._write(namespace, self._store.insert_passages(namespace, passages), remember)

    async def search_passages(
        self, namespace: Namespace, query: str, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        return await self._store.search_passages(namespace, query, limit=limit, offset=offset)

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Hide, then begin anew."""
        await self._write(namespace, self._store.hide_passages(namespace, turns), None)

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Show, then begin anew."""
        await self._write(namespace, self._store.show_passages(namespace, turns), None)

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

        def remember(hot: Remembered, written: WorkingContext) -> None:
            hot.context = max(hot.context, written, key=_version)

        written = self._store.write_context(namespace, expected, content, node, turn)
        return await self._write(namespace, written, remember)

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        """Ask the store behind."""
        return await self._store.edits(namespace, turns)

    async def counts(self, namespace: Namespace) -> Counts:
        """Ask the store behind."""
        return await self._store.counts(namespace)

    async def _write(
        self,
        namespace: Namespace,
        write: Coroutine[Any, Any, Result],
        remember: Callable[[Remembered, Result], None] | None,
    ) -> Result:
        """Carry out a write and remember what it did, or else forget the namespace."""
        with self._writing(namespace):
            result = await write
            if remember is None:
                self._forget(namespace)
            elif (hot := self._used(namespace)) is not None:
                remember(hot, result)
                self._measure(hot)
            return result

    @contextmanager
    def _writing(self, namespace: Namespace) -> Iterator[None]:
        self._overlaps.begin_writing(namespace)
        try:
            yield
        except asyncio.CancelledError:  # it may be carried out yet
            self._forget(namespace)
            task = asyncio.get_running_loop().create_task(self._end_writing(namespace))
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)
            raise
        except StoreError:
            self._forget(namespace)
            self._overlaps.end_writing(namespace)
            raise
        self._overlaps.end_writing(namespace)

    async def _end_writing(self, namespace: Namespace) -> None:
        """Wait for the writes asked for so far: an embedded store takes them in order."""
        with suppress(StoreError):  # then none of them is under way either
            await self._store.ping()
        self._overlaps.end_writing(namespace)

    def _learn(self, namespace: Namespace, chain: Sequence[NodeId], state: TurnState) -> None:
        hot = self._spaces.get(namespace)
        if hot is None:
            hot = self._spaces[namespace] = Remembered(state.context, state.counts)
        self._spaces.move_to_end(namespace)
        hot.learn(chain, state)
        self._measure(hot)

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


def _version(context: WorkingContext) -> int:
    return context.version
