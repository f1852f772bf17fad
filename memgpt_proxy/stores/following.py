"""Hearing what other replicas write, so that what is remembered here stays true.

A turn asks the change log once, before it answers from memory. What others have written is
remembered too, as long as its order is certain: the log tells in which order changes were
told, which is that of the store only where none was begun before the one before it was told.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

from memgpt_proxy.stores.change_log import NOWHERE, ChangeLog, Entry, News, Position
from memgpt_proxy.stores.changes import Change, Committed, Edited, Inserted, Shown, Uncertain
from memgpt_proxy.stores.protocols import Store, StoreUnavailable
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.spaces import Spaces
from memgpt_proxy.stores.storable import owner_of

MOST_PLACES = 50_000
"""Namespaces that are followed at once."""

MOST_IDLE = 1000
"""Of these, namespaces of which nothing is remembered: a place takes some 20 KB."""

MOST_MISSED = 1000
"""Namespaces whose changes are told one by one when the log is back; of more, all are voided."""

MOST_LATEST = 32
"""Changes that a new one is compared with."""

Touched = frozenset[str] | None
"""Names of the records that a change replaces; None for any."""


class Others(Protocol):
    """What the hot state has to know of others."""

    async def catch_up(self, namespace: Namespace, *, goes_on: bool = False) -> None:
        """Take in what others have written.

        Args:
            goes_on: More is read in the same turn, which need not catch up again.
        """
        ...

    def position(self, namespace: Namespace) -> Position:
        """Return where a write begins."""
        ...

    async def tell(self, namespace: Namespace, change: Change, *, upon: Position) -> None:
        """Remember a change that the store has carried out, and tell others."""
        ...

    async def forget(self, namespace: Namespace) -> None:
        """Have all forget a namespace, and what was told of it.

        Raises StoreUnavailable where others, or what was told, cannot be reached.
        """
        ...

    async def come_back(self) -> None:
        """See whether others can be heard again, and tell them what they have missed."""
        ...


class Nobody:
    """No others: all changes are made here."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces

    async def catch_up(self, namespace: Namespace, *, goes_on: bool = False) -> None:
        """Nothing can have happened."""

    def position(self, namespace: Namespace) -> Position:
        """No log, no position."""
        return NOWHERE

    async def tell(self, namespace: Namespace, change: Change, *, upon: Position) -> None:
        """Remember a change."""
        self._spaces.take_in(namespace, change)

    async def forget(self, namespace: Namespace) -> None:
        """Forget it here."""
        self._spaces.forget(namespace)

    async def come_back(self) -> None:
        """Nobody was away."""


@dataclass(slots=True)
class _Place:
    """Where a namespace is followed from.

    Attributes:
        position: What is behind it has not been followed yet.
        latest: The last changes up to there, each with the position behind it.
        turn: Held while the log is asked: what it answers is taken in in its order.
    """

    position: Position = NOWHERE
    latest: list[tuple[Position, Touched]] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def join(self, position: Position) -> None:
        """Begin at a position."""
        self.position = position
        self.latest = [(position, frozenset())]

    def go_on(self, entry: Entry) -> bool:
        """Go behind an entry; return whether its order is certain."""
        touched = _touched(entry.change)
        certain = self._is_certain(entry.upon, touched)
        self.position = entry.at
        self.latest = [*self.latest[-MOST_LATEST:], (entry.at, touched)]
        return certain

    def _is_certain(self, upon: Position, touched: Touched) -> bool:
        for position, meanwhile in reversed(self.latest):
            if position == upon:
                return True
            if touched is None or (touched and (meanwhile is None or touched & meanwhile)):
                return False
        return False  # nor where the namespace may have been erased since it was begun


class Following:
    """Follows a change log for all namespaces that are remembered.

    Where the log is away, nothing is remembered, and the store is told so.

    Args:
        log: What the replicas tell each other.
        store: The store behind; it learns of others' changes, which its searches are to find.
        spaces: What is remembered here.
    """

    def __init__(self, log: ChangeLog, store: Store, spaces: Spaces) -> None:
        self._log = log
        self._store = store
        self._spaces = spaces
        self._places: OrderedDict[Namespace, _Place] = OrderedDict()
        self._caught_up: WeakKeyDictionary[asyncio.Task[object], Namespace] = WeakKeyDictionary()
        self._away = False
        self._returning = False
        self._missed: dict[Namespace, None] = {}
        self._overflows = 0

    async def catch_up(self, namespace: Namespace, *, goes_on: bool = False) -> None:
        """Follow the log, or join it; where it is away, nothing is remembered."""
        task = asyncio.current_task()
        if task is not None and self._caught_up.pop(task, None) == namespace and not goes_on:
            return
        await self.come_back()
        if self._away:
            return
        async with self._asking(namespace) as place:
            await self._follow(namespace, place)
        if task is not None and goes_on:
            self._caught_up[task] = namespace

    def position(self, namespace: Namespace) -> Position:
        """Return where a namespace is followed from."""
        place = self._places.get(namespace)
        return place.position if place else NOWHERE

    async def tell(self, namespace: Namespace, change: Change, *, upon: Position) -> None:
        """Append a change to the log, and remember it behind what others told before it."""
        if self._away:
            self._miss(namespace)
            return
        async with self._asking(namespace) as place:
            try:
                news = await self._log.append(namespace, change, upon=upon, position=place.position)
            except StoreUnavailable:
                self._miss(namespace)
                raise
            if news is None:
                self._leave(namespace)
            else:
                self._take_in(namespace, place, news.entries)
                self._take_in(namespace, place, [Entry(news.position, upon, change)], own=True)
                self._warn(namespace, news)

    async def forget(self, namespace: Namespace) -> None:
        """Delete the log of a namespace: whoever has followed it finds a gap, and forgets."""
        place = self._place(namespace)
        try:
            async with place.turn:
                await self._log.forget(owner_of(namespace))
                self._leave(namespace)
        except StoreUnavailable:
            self._miss(namespace)
            self._be_alone()
            raise

    async def come_back(self) -> None:
        """Tell others what they have missed, then trust the log again; else stay away."""
        if not self._away or self._returning:
            return
        self._returning = True
        try:
            await self._log.ping()
            await self._tell_missed()
        except StoreUnavailable:
            return
        finally:
            self._returning = False
        self._away = self._spaces.closed = False
        self._store.alone(alone=False)

    @asynccontextmanager
    async def _asking(self, namespace: Namespace) -> AsyncIterator[_Place]:
        """Ask the log about a namespace, one after another; where it is away, be alone."""
        place = self._place(namespace)
        try:
            async with place.turn:
                yield place
        except StoreUnavailable:
            self._be_alone()
        finally:
            if self._places.get(namespace) is not place:  # it was left meanwhile
                self._spaces.forget(namespace)

    async def _follow(self, namespace: Namespace, place: _Place) -> None:
        """Take in what is new; where that cannot be told, forget and join."""
        news = None
        if place.position != NOWHERE:
            news = await self._log.follow(namespace, place.position)
        if news is None:
            news = await self._log.join(namespace)
            self._spaces.forget(namespace)
            place.join(news.position)
        self._take_in(namespace, place, news.entries)
        self._warn(namespace, news)

    def _take_in(
        self, namespace: Namespace, place: _Place, entries: Sequence[Entry], *, own: bool = False
    ) -> None:
        for entry in entries:
            if place.go_on(entry) and (own or _can_be_repeated(entry.change)):
                self._spaces.take_in(namespace, entry.change)
            else:
                self._spaces.forget(namespace)
            if not own:  # what was read since may have been counted with it
                self._spaces.forget_counts(namespace)

    def _warn(self, namespace: Namespace, news: News) -> None:
        if news.recent:
            self._store.changed_elsewhere(namespace)

    def _place(self, namespace: Namespace) -> _Place:
        place = self._places.setdefault(namespace, _Place())
        self._places.move_to_end(namespace)
        most = min(MOST_PLACES, len(self._spaces) + MOST_IDLE)
        while len(self._places) > most:
            oldest = next(iter(self._places))
            if self._places[oldest].turn.locked():
                break
            self._leave(oldest)
        return place

    def _leave(self, namespace: Namespace) -> None:
        """Follow a namespace no longer: nothing of it can be trusted."""
        if (place := self._places.pop(namespace, None)) is not None:
            place.position = NOWHERE
        self._spaces.forget(namespace)

    def _be_alone(self) -> None:
        """Trust nothing: others may write, and nobody tells."""
        self._away = self._spaces.closed = True
        for namespace in list(self._places):
            self._leave(namespace)
        self._spaces.forget_all()
        self._store.alone(alone=True)

    def _miss(self, namespace: Namespace) -> None:
        self._missed[namespace] = None
        if len(self._missed) > MOST_MISSED:
            self._missed.clear()
            self._overflows += 1

    async def _tell_missed(self) -> None:
        """Tell of all that others have missed; what they miss meanwhile, too."""
        if overflows := self._overflows:
            await self._log.void()
            self._overflows -= overflows
        while self._missed:
            namespace, _ = self._missed.popitem()
            try:
                await self._log.append(namespace, Uncertain(), upon=NOWHERE, position=NOWHERE)
            except (StoreUnavailable, asyncio.CancelledError):
                self._miss(namespace)
                raise


def _touched(change: Change) -> Touched:
    """Return what a change replaces; what it adds or counts can come in any order."""
    match change:
        case Committed(record) if record.fork is None:
            names = [*(node.id for node in record.nodes), *(each.node for each in record.queues)]
            return frozenset([*names, *([record.conversation.name] if record.conversation else [])])
        case Committed() | Uncertain():
            return None
        case Edited() | Inserted() | Shown():
            return frozenset()


def _can_be_repeated(change: Change) -> bool:
    """Return whether it makes no difference to one who has read the store after it.

    A fork leaves what has been added to a branch by then.
    """
    return not (isinstance(change, Committed) and change.record.fork)
