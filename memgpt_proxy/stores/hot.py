"""The hot state of namespaces in use, in process, in front of a store.

A turn of a conversation in use reads nothing from the store. Without a log, what is remembered
changes only through here: one process owns an embedded store. With one, other replicas tell
there what they write, and a turn reads the log first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from memgpt_proxy.stores.change_log import NOWHERE, ChangeLog, Position
from memgpt_proxy.stores.changes import (
    Change,
    Committed,
    Edited,
    Inserted,
    Shown,
    Uncertain,
)
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.following import Following, Nobody, Others
from memgpt_proxy.stores.portable import Portable
from memgpt_proxy.stores.protocols import Store, StoreAway, StoreError, StoreUnavailable
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
    TurnId,
    TurnRecord,
    TurnState,
    WorkingContext,
)
from memgpt_proxy.stores.spaces import Spaces
from memgpt_proxy.telemetry import Telemetry

Result = TypeVar("Result")

LAST_SECONDS = 2.0
"""How long closing waits for writes whose callers had left."""


class HotStore:
    """A store that remembers what turns read and write, up to a size.

    Args:
        store: The store behind it; every write goes there first.
        max_bytes: Bound on what is remembered; the namespaces used last stay.
        log: What replicas that share the store tell each other; none where there are none.
        telemetry: Counts how often what turns need is remembered.
    """

    def __init__(
        self,
        store: Store,
        max_bytes: int,
        log: ChangeLog | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._telemetry = telemetry or Telemetry()
        self._store = store
        self._spaces = Spaces(max_bytes)
        self._others: Others = Nobody(self._spaces)
        if log is not None:
            self._others = Following(log, store, self._spaces)
        self._cancelled: dict[asyncio.Task[None], tuple[Namespace, Position]] = {}

    @property
    def degraded(self) -> bool:
        """Whether the store behind is."""
        return self._store.degraded

    def changed_elsewhere(self, namespace: Namespace) -> None:
        """Forget what was remembered of it."""
        self._spaces.forget(namespace)
        self._store.changed_elsewhere(namespace)

    def alone(self, *, alone: bool) -> None:
        """Forget everything, and hand it on: whoever says so knows more than the log."""
        self._spaces.forget_all()
        self._store.alone(alone=alone)

    async def open(self) -> None:
        """Open the store behind."""
        await self._store.open()

    async def close(self) -> None:
        """Let writes end that were cancelled, close the store behind, tell others the last."""
        open_still = {**self._cancelled}
        await ended(open_still, LAST_SECONDS)
        await self._store.close()
        open_still |= self._cancelled
        await ended(open_still)
        for task, (namespace, upon) in open_still.items():
            if task.cancelled():  # by then the store has broken it off, or it waits
                await self._others.tell(namespace, Uncertain(), upon=upon)
        await self._others.come_back()

    async def ping(self) -> None:
        """Ask the store behind; the log may be away."""
        await self._store.ping()
        await self._others.come_back()

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """Read a turn, from memory if everything it needs is there."""
        await self._others.catch_up(namespace)
        hot = self._spaces.use(namespace)
        if hot is not None and (known := hot.read_turn(chain, enough)) is not None:
            self._telemetry.read_hot(hit=True)
            if known.counts is not None or known.queue is not None:
                return known
            return replace(known, counts=await self.counts(namespace))
        self._telemetry.read_hot(hit=False)
        with self._spaces.reading(namespace) as reading:
            state = await self._store.read_turn(namespace, chain, enough=enough)
        self._spaces.learn(namespace, chain, state, reading)
        if (hot := self._spaces.use(namespace)) is None:
            return state
        return replace(state, context=max(hot.context, state.context, key=_version))

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        """Return messages from memory if all of them are there."""
        hot = self._spaces.use(namespace)
        if hot is not None and (known := hot.path(node, length)) is not None:
            return known
        return await self._store.path(namespace, node, length)

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        """Return what follows from memory if all of it is there."""
        hot = self._spaces.use(namespace)
        if hot is not None and (known := hot.after(node)) is not None:
            return known
        return await self._store.after(namespace, node)

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        """Ask the store behind."""
        await self._others.catch_up(namespace)
        return await self._store.with_content(namespace, contents, limit=limit)

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        """Return the conversation, from memory if it is there: a turn's first read."""
        await self._others.catch_up(namespace, goes_on=True)
        if (hot := self._spaces.use(namespace)) is not None and name in hot.conversations:
            return hot.conversations[name]
        with self._spaces.reading(namespace) as reading:
            found = await self._store.conversation(namespace, name)
        self._spaces.learn_conversation(namespace, name, found, reading)
        return found

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        """Store, then remember."""
        committed = self._store.commit(namespace, record)
        return await self._write(namespace, committed, lambda known: Committed(record, known))

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
        await self._others.catch_up(namespace)
        return await self._store.search_messages(
            namespace, query, limit=limit, offset=offset, without=without
        )

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        await self._others.catch_up(namespace)
        return await self._store.messages_between(namespace, start, end, limit=limit, offset=offset)

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store; some may have been known, so the store has to be asked for the count."""
        inserted = self._store.insert_passages(namespace, passages)
        await self._write(namespace, inserted, lambda _: Inserted(passages))

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
        await self._others.catch_up(namespace)
        return await self._store.search_passages(
            namespace, query, limit=limit, offset=offset, without=without
        )

    async def passages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        await self._others.catch_up(namespace)
        return await self._store.passages_between(namespace, start, end, limit=limit, offset=offset)

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Hide; nobody knows how many."""
        hidden = self._store.hide_passages(namespace, turns)
        await self._write(namespace, hidden, lambda _: Shown(turns, hidden=True))

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Show; nobody knows how many."""
        shown = self._store.show_passages(namespace, turns)
        await self._write(namespace, shown, lambda _: Shown(turns, hidden=False))

    async def context(self, namespace: Namespace) -> WorkingContext:
        """Return the working context, from memory if it is there."""
        hot = self._spaces.use(namespace)
        return hot.context if hot else await self._store.context(namespace)

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        """Ask the store behind."""
        return await self._store.context_at(namespace, version)

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        """Store, then remember; what was remembered is forgotten when it proves stale."""
        written = self._store.write_context(namespace, expected, content, node, turn)
        return await self._write(namespace, written, Edited)

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        """Ask the store behind."""
        return await self._store.edits(namespace, turns)

    async def counts(self, namespace: Namespace) -> Counts:
        """Return the counts, from memory if they are there; while the store is away, nearly."""
        hot = self._spaces.use(namespace)
        if hot is not None and hot.counts is not None:
            return hot.counts
        try:
            with self._spaces.reading(namespace) as reading:
                counts = await self._store.counts(namespace)
        except StoreAway:
            if hot is None or hot.nearly is None:
                raise
            return hot.nearly  # to know how much there is is not worth a turn without memory
        self._spaces.learn_counts(namespace, counts, reading)
        return counts

    async def erase(self, namespace: Namespace) -> Holdings:
        """Erase, and have everybody forget it. Raises StoreUnavailable where some may not have."""
        self._spaces.begin_uncertain(namespace)
        try:
            return await self._store.erase(namespace)
        finally:
            self._spaces.end_uncertain(namespace)
            await self._others.forget(namespace)

    async def erased_at(self, namespace: Namespace) -> float:
        """Ask the store behind."""
        return await self._store.erased_at(namespace)

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        """Store; what is remembered may be another by now."""
        restored = self._store.restore(namespace, records)
        await self._write(namespace, restored, lambda _: Uncertain())

    async def stored_late(self, namespace: Namespace) -> None:
        """Forget it, everywhere: what has waited is stored, and may have been read for missing."""
        await self._others.tell(namespace, Uncertain(), upon=NOWHERE)

    async def _write(
        self,
        namespace: Namespace,
        write: Coroutine[Any, Any, Result],
        change: Callable[[Result], Change],
    ) -> Result:
        """Carry out a write, remember what it did, and tell others."""
        upon = self._others.position(namespace)
        try:
            result = await write
            await self._others.tell(namespace, change(result), upon=upon)
        except asyncio.CancelledError:  # it may be carried out yet
            self._spaces.begin_uncertain(namespace)
            task = asyncio.get_running_loop().create_task(self._end_uncertain(namespace, upon))
            self._cancelled[task] = namespace, upon
            task.add_done_callback(self._cancelled.pop)
            raise
        except StoreAway:  # nothing was done: what is at hand stays
            raise
        except StoreError as error:
            self._spaces.forget(namespace)
            if isinstance(error, StoreUnavailable):  # a part of it may be stored
                await self._others.tell(namespace, Uncertain(), upon=upon)
            raise
        return result

    async def _end_uncertain(self, namespace: Namespace, upon: Position) -> None:
        """Wait for the writes asked for so far: an embedded store takes them in order."""
        with suppress(StoreError):  # then none of them is under way either
            await self._store.ping()
        self._spaces.end_uncertain(namespace)
        await self._others.tell(namespace, Uncertain(), upon=upon)


def _version(context: WorkingContext) -> int:
    return context.version
