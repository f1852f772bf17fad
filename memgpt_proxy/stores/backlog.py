"""All that waits for a store, in one journal or several, and how it is carried out at last.

The journals are used in their order: a write goes to the next one where the first is full or
away, and so do those after it, until all of them are drained. So the order of writes is kept.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from typing import assert_never

from memgpt_proxy.stores.changes import Change, Committed, Inserted, Shown
from memgpt_proxy.stores.codec import NewerForm, decode
from memgpt_proxy.stores.journal import Entry, Journal, Waiting
from memgpt_proxy.stores.protocols import Store, StoreError, StoreUnavailable
from memgpt_proxy.stores.records import Known, Namespace, Owner
from memgpt_proxy.telemetry import Telemetry

log = logging.getLogger(__name__)

HELD_SECONDS = 2.0
"""How long writes are held up at the most."""

ASIDE_SECONDS = 60.0
"""From one look at what is put aside to the next."""

BATCH = 64
"""Entries that are carried out together, those of different namespaces at once."""

HANDED_BYTES = 2**20
"""Bytes of entries behind which no further one is handed over at once."""

HANDING_SECONDS = 3.0
"""For how long entries are handed over before something else has its turn."""


Stored = Callable[[Namespace], Awaitable[None]]
"""Tells that something of a namespace, which has waited, is stored now."""


class LeftToNewer(StoreUnavailable):
    """An entry waits for a process of a newer release, which knows what to do with it."""


class Backlog:
    """The journals of one process.

    Args:
        stored: Told of each namespace of which something was carried out.
    """

    def __init__(
        self, journals: Sequence[Journal], telemetry: Telemetry, stored: Stored | None = None
    ) -> None:
        self._journals = journals
        self._stored = stored
        self._telemetry = telemetry
        self._used = 0  # the journal that writes are kept in now
        self._away: set[str] = set()  # journals that could not be drained when last tried
        self._full: set[str] = set()  # those that took no write, since anything waits
        self._look_aside = -math.inf  # when what is put aside is next looked at
        self._open = asyncio.Event()
        self._open.set()
        self._keeping = self._holding = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """Make the journals ready. Raises StoreUnavailable when one can never be used."""
        for journal in self._journals:
            await journal.open()
            self._telemetry.writes_wait(journal.name, 0)

    async def close(self) -> None:
        """Close the journals; what waits in them stays, and is told of where this machine has it.

        A container's disk goes with it, unless somebody sees to that.
        """
        for journal in self._journals:
            with suppress(StoreError):
                if journal.file is not None and (waiting := await journal.waiting()):
                    log.error(
                        "%d writes still wait in %s: keep that file, a gateway that is started"
                        " with it stores them",
                        *(waiting, journal.file),
                    )
            await journal.close()

    async def waits(self) -> bool:
        """Return whether anything waits, as far as journals can tell."""
        for index, journal in reversed([*enumerate(self._journals)]):
            if await self._waiting(journal):
                self._used = max(self._used, index)
                return True
        return False

    async def look(self) -> None:
        """Measure how much waits now; other processes may have kept some of it."""
        for journal in self._journals:
            with suppress(StoreUnavailable):  # told, too
                await self._waiting(journal)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Hold up ``held``, or wait while it lasts: in here a write may be kept."""
        while not self._open.is_set():
            await self._open.wait()
        self._keeping += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._keeping -= 1
            if not self._keeping:
                self._idle.set()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Let no write be kept meanwhile: what is drained in here is all."""
        self._holding += 1
        self._open.clear()
        try:
            await self._idle.wait()
            yield
        finally:
            self._holding -= 1
            if not self._holding:
                self._open.set()

    async def keep(self, namespace: Namespace, change: Waiting) -> None:
        """Keep a write; durable when it returns. Raises StoreUnavailable where no journal can."""
        for index, journal in enumerate(self._journals):
            if index < self._used:
                continue
            try:
                await journal.append(namespace, change)
            except StoreUnavailable as error:
                self._passed_over(journal, error)
                continue
            self._used = max(self._used, index)
            self._telemetry.write_kept(journal.name)
            return
        self._telemetry.write_refused()
        raise StoreUnavailable("the store is away, and no journal can keep a write for it")

    async def drain(self, store: Store, *, leave: int = 0) -> bool:
        """Carry out what waits, in order; return whether no more than ``leave`` are left.

        More are left where the store goes away again, or another process drains. A journal that
        is away itself, or holds what a newer release has written, is passed over: what waits in
        it comes later. Writes that outrun the draining are held up for a moment.
        """
        for journal in self._journals:
            try:
                if not await self._drain(journal, store, leave):
                    return False
            except StoreUnavailable as error:
                self._lost(journal, error)
            else:
                self._found(journal)
        return True

    async def hand_over(self) -> bool:
        """Move what waits in further journals to the first, once that takes writes again.

        Return whether nothing waits in them now.

        For what waits on the disk of one process may go with it. An entry goes when the first
        journal has it for good: where it breaks off between the two, it waits twice, one after
        the other. Until all have gone, writes are kept behind those that are left.
        """
        further = self._journals[1:]
        try:
            for journal in further:
                if await self._waiting(journal) and await self._journals[0].keeps():
                    await self._hand_over(journal, self._journals[0])
            return not sum([await self._waiting(journal) for journal in further])
        except (StoreUnavailable, TimeoutError):
            return False  # a later call goes on

    async def _hand_over(self, journal: Journal, first: Journal) -> None:
        clock = asyncio.get_running_loop().time
        moved, until = 0, clock() + HANDING_SECONDS
        try:
            while (waiting := await self._waiting(journal)) and clock() < until:
                last = waiting <= BATCH  # while these go, none comes behind
                async with (
                    asyncio.timeout(HELD_SECONDS if last else None),
                    self.held() if last else nullcontext(),
                ):
                    moved += await self._hand_some_over(journal, first)
                    if last and not await self._waiting(journal):
                        self.begin_anew()
        finally:
            if moved:
                log.info(
                    "%d writes that waited in the %s journal wait in the %s journal now",
                    *(moved, journal.name, first.name),
                )

    async def _hand_some_over(self, journal: Journal, first: Journal) -> int:
        """Move the oldest entries; return how many."""
        size = 0
        entries: list[Entry] = []
        for entry in await journal.oldest(BATCH):
            size += entry.size
            if entries and size > HANDED_BYTES:
                break
            entries.append(entry)
        await first.take_over(entries)
        await journal.done(entries)
        await self._waiting(first)
        return len(entries)

    def _passed_over(self, journal: Journal, error: StoreUnavailable) -> None:
        if journal.name not in self._full:
            log.warning("a write cannot wait in the %s journal: %s", journal.name, error)
            self._full.add(journal.name)

    def _lost(self, journal: Journal, error: StoreUnavailable) -> None:
        if journal.name not in self._away:
            log.warning("the %s journal cannot be drained now: %s", journal.name, error)
            self._away.add(journal.name)

    def _found(self, journal: Journal) -> None:
        if journal.name in self._away:
            log.info("the %s journal can be drained again", journal.name)
            self._away.discard(journal.name)

    async def _drain(self, journal: Journal, store: Store, leave: int) -> bool:
        before, outrun = sys.maxsize, False
        while (waiting := await self._waiting(journal)) > leave:
            outrun = outrun or waiting >= before
            before = waiting
            with suppress(TimeoutError):
                async with (
                    asyncio.timeout(HELD_SECONDS if outrun else None),
                    self.held() if outrun else nullcontext(),
                ):
                    if not await self._drain_some(journal, store):
                        return False
        return True

    async def forget(self, owner: Owner) -> None:
        """Remove an owner's writes from all journals. Raises StoreUnavailable."""
        for journal in self._journals:
            await journal.forget(owner)
            await self._waiting(journal)

    async def forget_erased(self, store: Store) -> None:
        """Remove what is put aside of memories that were erased since, by whichever process.

        Once a minute at the most; where store or journal is away, another time.
        """
        if time.monotonic() < self._look_aside:
            return
        with suppress(StoreUnavailable):
            for journal in self._journals:
                await _forget_erased(journal, store)
            self._look_aside = time.monotonic() + ASIDE_SECONDS

    def begin_anew(self) -> None:
        """Nothing waits behind the first journal: that is the next to be used."""
        self._used = 0
        self._full.clear()

    async def _waiting(self, journal: Journal) -> int:
        try:
            count = await journal.waiting()
        except StoreUnavailable:
            self._telemetry.writes_wait(journal.name, None)
            raise
        self._telemetry.writes_wait(journal.name, count)
        return count

    async def _drain_some(self, journal: Journal, store: Store) -> bool:
        """Carry out the oldest entries, those of one namespace in order.

        Where a newer release has written some, what is behind them in other namespaces, too.
        Raises LeftToNewer then.
        """
        held: dict[Namespace, LeftToNewer] = {}
        last: Entry | None = None
        while await journal.lead():
            if not (entries := await journal.oldest(BATCH, last)):
                break
            if not await self._carry_out_several(journal, entries, store, held):
                return False
            if not held:
                return True
            last = entries[-1]
        else:
            return False
        for error in held.values():
            await journal.resign()  # for a process that knows more
            raise error
        return True

    async def _carry_out_several(
        self,
        journal: Journal,
        entries: Sequence[Entry],
        store: Store,
        held: dict[Namespace, LeftToNewer],
    ) -> bool:
        """Carry out entries; False where this cannot go on now.

        Args:
            held: Namespaces that are passed over; those at an entry of a newer release are added.
        """
        namespaces: defaultdict[Namespace, list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.namespace not in held:
                namespaces[entry.namespace].append(entry)
        draining = (self._carry_out_all(journal, each, store) for each in namespaces.values())
        outcomes = await asyncio.gather(*draining, return_exceptions=True)
        for namespace, outcome in zip(namespaces, outcomes, strict=True):
            if isinstance(outcome, LeftToNewer):
                held[namespace] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
        return all(outcomes)

    async def _carry_out_all(
        self, journal: Journal, entries: Sequence[Entry], store: Store
    ) -> bool:
        """Carry out one namespace's entries; False where this cannot go on now.

        Raises LeftToNewer at one that a newer release has written.
        """
        stored: list[Entry] = []
        try:
            if (erased := await _erased_at(store, entries[0].namespace)) is None:
                return False
            for entry in entries:
                if not await journal.lead():
                    return False
                try:
                    await _carry_out_entry(store, entry, erased)
                except StoreUnavailable:
                    return False
                except NewerForm as error:
                    told = f"entry {entry.id} in it is a newer release's, which will store it"
                    raise LeftToNewer(told) from error
                except (StoreError, ValueError) as error:
                    await self._put_aside(journal, entry, error)
                else:
                    stored.append(entry)
            return True
        finally:
            if stored:
                await journal.done(stored)
                if self._stored is not None:
                    await self._stored(entries[0].namespace)
            self._telemetry.writes_drained(journal.name, len(stored))

    async def _put_aside(self, journal: Journal, entry: Entry, error: Exception) -> None:
        told = (journal.name, entry.id, type(error).__name__)  # its words may be a user's
        log.error("entry %s/%s is put aside, the store refuses it: %s", *told)
        await journal.put_aside(entry)
        self._telemetry.write_put_aside(journal.name)


async def _erased_at(store: Store, namespace: Namespace) -> float | None:
    """Return when a namespace was last erased; None where the store has gone away again."""
    try:
        return await store.erased_at(namespace)
    except StoreUnavailable:
        return None


async def _forget_erased(journal: Journal, store: Store) -> None:
    """Remove what a journal has put aside from before an erasure. Raises StoreUnavailable."""
    erased: dict[Namespace, float] = {}
    gone: list[Entry] = []
    for entry in await journal.aside():
        if entry.namespace not in erased:
            erased[entry.namespace] = await store.erased_at(entry.namespace)
        if _may_be_older(entry, erased[entry.namespace]):
            gone.append(entry)
    if gone:
        await journal.forget_aside(gone)


def _may_be_older(entry: Entry, erased: float) -> bool:
    """Return whether an entry may have been made before its namespace was ``erased``, if it was."""
    try:
        made = _made(decode(entry.data))
    except ValueError:
        made = math.inf
    return made < erased if made < math.inf else erased > 0.0


async def _carry_out_entry(store: Store, entry: Entry, erased: float) -> None:
    """Have a store carry out an entry, unless its namespace was ``erased`` since it was made."""
    change = decode(entry.data)
    if _made(change) < erased:
        return
    if isinstance(change, Committed):
        change = Committed(replace(change.record, waited=True))
    if not isinstance(change, Waiting):
        raise ValueError(f"{type(change).__name__} cannot wait")
    await carry_out(store, entry.namespace, change)


def _made(change: Change) -> float:
    """Return when a change was made, as far as it brings anything into the store."""
    match change:
        case Committed(record=record):
            return record.created
        case Inserted(passages=passages):
            return max((passage.created for passage in passages), default=0.0)
        case _:
            return math.inf


async def carry_out(store: Store, namespace: Namespace, change: Waiting) -> Known:
    """Have a store carry out a change; return which of its messages were there before."""
    match change:
        case Committed(record=record):
            return await store.commit(namespace, record)
        case Inserted(passages=passages):
            await store.insert_passages(namespace, passages)
        case Shown(turns=turns, hidden=True):
            await store.hide_passages(namespace, turns)
        case Shown(turns=turns):
            await store.show_passages(namespace, turns)
        case _:
            assert_never(change)
    return None
