"""A store that may go away: its writes wait in a journal then, and are stored when it is back.

It is *away* from the first call that finds it so until it answers again and all that waits is
stored, in order. Meanwhile reads are refused at once, and so are edits of the working context,
which are made against one version: every edit is there or refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

from memgpt_proxy.stores.backlog import HELD_SECONDS, Backlog, carry_out
from memgpt_proxy.stores.changes import Committed, Inserted, Shown
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.journal import Journal, Waiting
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
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.telemetry import Telemetry

log = logging.getLogger(__name__)

FIRST_PROBE = 1.0
LAST_PROBE = 5.0
"""Seconds to the first and, each twice as long, to the later probes of a store that is away; and
from one look to the next at what other processes may have left in a journal."""

FEW = 128
"""Entries so few that writes can be held up while they are drained."""

LAST_SECONDS = 10.0
"""How long closing may take to store what is being written, and what waits."""

HANDED_SECONDS, HANDED_PAUSE = 6.0, 0.2
"""For how long closing tries, and how often, to have what waits on disk wait where it outlives
that: a Redis that was away a moment ago is not asked for five seconds."""


class JournaledStore:
    """A store whose writes wait in journals while it is away.

    Args:
        store: The store; it need not be there when this is opened.
        journals: Where writes wait: in the first of them, in the next where that fails.
        probes: Seconds to the first probe of a store that is away, and between later ones.
        last: Seconds that closing may take to store what is being written, and what waits.
    """

    def __init__(
        self,
        store: Store,
        journals: Sequence[Journal],
        telemetry: Telemetry,
        *,
        probes: tuple[float, float] = (FIRST_PROBE, LAST_PROBE),
        last: float = LAST_SECONDS,
    ) -> None:
        self._store = store
        self._backlog = Backlog(journals, telemetry, self._tell_stored)
        self._told: Callable[[Namespace], Awaitable[None]] | None = None
        self._telemetry = telemetry
        self._first, self._later = probes
        self._last = last
        self._opened = False
        self._away = False
        self._gone = asyncio.Event()
        self._coming_back = asyncio.Lock()
        self._writing: dict[asyncio.Task[Known], tuple[Namespace, Waiting]] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether the store is away, or what has waited for it is not all stored."""
        return self._away

    def changed_elsewhere(self, namespace: Namespace) -> None:
        """Tell the store."""
        self._store.changed_elsewhere(namespace)

    def alone(self, *, alone: bool) -> None:
        """Tell the store."""
        self._store.alone(alone=alone)

    def tell(self, told: Callable[[Namespace], Awaitable[None]]) -> None:
        """Have ``told`` know of each namespace of which something that has waited is stored."""
        self._told = told

    async def _tell_stored(self, namespace: Namespace) -> None:
        if self._told is not None:
            await self._told(namespace)

    async def open(self) -> None:
        """Open the journals and, if it is there, the store; what waits is drained first.

        Raises StoreError when the store or a journal can never be used.
        """
        await self._backlog.open()
        try:
            await self._open_store()
        except StoreUnavailable as error:
            self._lost(error)
        except StoreError:
            await self._store.close()
            await self._backlog.close()
            raise
        if await self._something_waits() and not self._away:
            self._set_away(away=True)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Store or keep what was asked, then close the store and the journals.

        What waits is stored if the store is there after all: this process may never come back.
        """
        if self._watching is not None:
            await ended([self._watching])
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._last):
                    await self._written()
                    if self._away and not await self.come_back():
                        await self._hand_over()
        finally:
            await self._keep_the_last()
            await self._backlog.hand_over()
            await self._store.close()
            await self._backlog.close()

    async def _hand_over(self) -> None:
        """Have what waits on disk wait elsewhere, if that is there, or will be soon."""
        async with asyncio.timeout(HANDED_SECONDS):
            while not await self._backlog.hand_over():  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(HANDED_PAUSE)

    async def _keep_the_last(self) -> None:
        """Keep the writes that the store still has not answered; it may have stored them."""
        open_still = {**self._writing}
        await ended(open_still)
        for writing, (namespace, change) in open_still.items():
            if not writing.cancelled():
                continue
            self._lost(StoreUnavailable("it does not answer"))
            try:
                await self._backlog.keep(namespace, change)
            except StoreUnavailable as error:
                log.error("a write could not be stored before the end: %s", error)

    async def ping(self) -> None:
        """Return when the store can be read, and every write asked for so far has ended."""
        await self._written()
        with self._asking():
            await self._store.ping()

    async def come_back(self) -> bool:
        """Probe the store and drain what waits; return whether it is there and nothing waits."""
        async with self._coming_back:
            try:
                await self._open_store()
                await self._store.ping()
            except StoreError as error:
                self._lost(error)
                await self._backlog.look()
                await self._backlog.hand_over()
                return False
            back = await self._drain()
            if back:
                await self._backlog.forget_erased(self._store)
            return back

    async def _drain(self) -> bool:
        """Drain all that waits, the last of it while no write comes behind."""
        if not await self._backlog.drain(self._store, leave=FEW):
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_SECONDS), self._backlog.held():
                if await self._backlog.drain(self._store):
                    self._found()
                    return True
        return False

    async def _open_store(self) -> None:
        if not self._opened:
            await self._store.open()
            self._opened = True

    async def _something_waits(self) -> bool:
        try:
            return await self._backlog.waits()
        except StoreUnavailable as error:  # a journal that is away has its turn later
            log.warning("what waits in a journal cannot be told now: %s", error)
            return False

    async def _watch(self) -> None:
        """Look for the store while it is away, and else for what other processes have left.

        An error in the program is told as soon as it happens, and ends no watching: nobody else
        would find the store again.
        """
        pause = 0.0 if self._opened else self._first
        while True:
            try:
                pause = await self._look(pause)
            except Exception:
                log.critical("watching the store has failed, and goes on", exc_info=True)
                await asyncio.sleep(self._later)

    async def _look(self, pause: float) -> float:
        """Look once, after a while; return how long to wait before the next probe."""
        if self._away:
            await asyncio.sleep(pause)
            await self.come_back()
            return min(max(2 * pause, self._first), self._later)
        if not await self._goes_away(self._later):
            await self.come_back()
        return self._first

    async def _goes_away(self, seconds: float) -> bool:
        """Wait until it is away, so long at most; return whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        return self._away

    def _lost(self, error: StoreError) -> None:
        if not self._away:
            log.warning("the store is away, its writes wait in a journal: %s", error)
            self._set_away(away=True)
            self._opened = False  # it may be another one when it is back

    def _found(self) -> None:
        self._backlog.begin_anew()
        if self._away:
            log.info("the store is back, and has all that has waited for it")
            self._set_away(away=False)

    def _set_away(self, *, away: bool) -> None:
        self._away = away
        self._telemetry.store_away(away=away)
        if away:
            self._gone.set()
        else:
            self._gone.clear()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the store for something to read. Raises StoreAway where it is away, or proves so."""
        try:
            with self._having_done():
                yield
        except StoreUnavailable as error:
            raise StoreAway(str(error)) from error

    @contextmanager
    def _having_done(self) -> Iterator[None]:
        """Have the store do something that cannot wait.

        Raises StoreAway where it is away; StoreUnavailable where it goes away in the middle of it.
        """
        if self._away:
            raise StoreAway("the store is away")
        try:
            yield
        except StoreUnavailable as error:
            self._lost(error)
            raise

    async def _write(self, namespace: Namespace, change: Waiting) -> Known:
        """Store a write, or keep it; that goes on where its caller is cancelled.

        Returns which of its messages were there before.
        """
        writing = asyncio.get_running_loop().create_task(self._store_or_keep(namespace, change))
        self._writing[writing] = namespace, change
        writing.add_done_callback(self._writing.pop)
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            writing.add_done_callback(_tell_failure)
            raise

    async def _store_or_keep(self, namespace: Namespace, change: Waiting) -> Known:
        while True:
            if not self._away:
                try:
                    return await carry_out(self._store, namespace, change)
                except StoreUnavailable as error:  # it may have gone away in the middle of it
                    self._lost(error)
            if await self._kept(namespace, change):
                return None

    async def _kept(self, namespace: Namespace, change: Waiting) -> bool:
        """Keep a write; False where the store has come back meanwhile."""
        async with self._backlog.keeping():
            if self._away:
                await self._backlog.keep(namespace, change)
                return True
        return False

    async def _written(self) -> None:
        """Wait until every write asked for so far is stored, or kept, or refused."""
        if self._writing:
            await asyncio.wait(self._writing)

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        """Store what a turn leaves behind, or have it wait."""
        return await self._write(namespace, Committed(record))

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store passages, or have all of them wait."""
        await self._write(namespace, Inserted(passages))

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Hide passages, or have that wait."""
        await self._write(namespace, Shown(turns, hidden=True))

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Show passages, or have that wait."""
        await self._write(namespace, Shown(turns, hidden=False))

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        """Edit the working context there and then. Raises StoreAway, and it is not edited."""
        with self._having_done():
            return await self._store.write_context(namespace, expected, content, node, turn)

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """Ask the store."""
        with self._asking():
            return await self._store.read_turn(namespace, chain, enough=enough)

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        """Ask the store."""
        with self._asking():
            return await self._store.path(namespace, node, length)

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        """Ask the store."""
        with self._asking():
            return await self._store.after(namespace, node)

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        """Ask the store."""
        with self._asking():
            return await self._store.with_content(namespace, contents, limit=limit)

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        """Ask the store."""
        with self._asking():
            return await self._store.conversation(namespace, name)

    async def search_messages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Ask the store."""
        with self._asking():
            return await self._store.search_messages(
                namespace, query, limit=limit, offset=offset, without=without
            )

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Ask the store."""
        with self._asking():
            return await self._store.messages_between(
                namespace, start, end, limit=limit, offset=offset
            )

    async def search_passages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Ask the store."""
        with self._asking():
            return await self._store.search_passages(
                namespace, query, limit=limit, offset=offset, without=without
            )

    async def passages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Ask the store."""
        with self._asking():
            return await self._store.passages_between(
                namespace, start, end, limit=limit, offset=offset
            )

    async def context(self, namespace: Namespace) -> WorkingContext:
        """Ask the store."""
        with self._asking():
            return await self._store.context(namespace)

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        """Ask the store."""
        with self._asking():
            return await self._store.context_at(namespace, version)

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        """Ask the store."""
        with self._asking():
            return await self._store.edits(namespace, turns)

    async def counts(self, namespace: Namespace) -> Counts:
        """Ask the store."""
        with self._asking():
            return await self._store.counts(namespace)

    async def erase(self, namespace: Namespace) -> Holdings:
        """Erase, in the journals too. Raises StoreAway, and nothing is erased."""
        async with self._coming_back:  # nothing is drained meanwhile
            with self._having_done():
                await self._written()
                erased = await self._store.erase(namespace)
            await self._backlog.forget(owner_of(namespace))
        return erased

    async def erased_at(self, namespace: Namespace) -> float:
        """Ask the store."""
        with self._asking():
            return await self._store.erased_at(namespace)

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        """Store records there and then. Raises StoreAway, and they are not stored."""
        with self._having_done():
            await self._store.restore(namespace, records)


def _tell_failure(writing: asyncio.Task[Known]) -> None:
    """Log what became of a write whose caller has left, if it failed."""
    if not writing.cancelled() and (error := writing.exception()):
        log.error("a write whose caller has left could not be stored: %s", error)
