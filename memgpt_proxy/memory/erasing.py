"""Forgetting a memory for good, and seeing to it that no turn under way brings it back."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from memgpt_proxy.memory.users import Users
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.events import ERASED, Event, Events
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Holdings, Namespace
from memgpt_proxy.stores.trace_writer import TraceWriter

log = logging.getLogger(__name__)

LAST_SECONDS = 2.0
"""How long closing waits for what is being erased."""


class Eraser:
    """Erases memories.

    A turn that began before all of its memory was erased knows what was in it: it answers, and
    leaves nothing behind. So it asks, before it writes, whether ``times`` is still what it was.
    """

    def __init__(self, store: Store, traces: TraceWriter, events: Events) -> None:
        self._store = store
        self._traces = traces
        self._events = events
        self._times: Counter[Namespace] = Counter()
        self._under_way: Counter[Namespace] = Counter()
        self._erasing: set[asyncio.Task[Holdings]] = set()

    def times(self, namespace: Namespace) -> int | None:
        """Return how often this process has erased a memory; None while it does."""
        return None if namespace in self._under_way else self._times[namespace]

    async def erase(self, namespace: Namespace) -> Holdings:
        """Erase a memory, and return what it held; that goes on where its caller is cancelled.

        Raises StoreError: a part may be gone; it can be repeated.
        """
        erasing = asyncio.get_running_loop().create_task(self._erase(namespace))
        self._erasing.add(erasing)
        erasing.add_done_callback(self._erased)
        return await asyncio.shield(erasing)

    async def erase_all(
        self, namespace: Namespace, register: Namespace, users: Users
    ) -> tuple[Holdings, int]:
        """Erase the memory of a key and those of its users; what they held, and how many users.

        Args:
            register: Where the users are written down; it goes last, so that it can be repeated.

        Raises StoreError: a part may be gone; it can be repeated.
        """
        held, count = await self.erase(namespace), 0
        async for user in users.of(register):
            users.forget(user)
            held += await self.erase(user)
            count += 1
        await self.erase(register)
        await users.note_again(register)
        return held, count

    async def close(self) -> None:
        """Let end what has begun, if it does so soon: it can be repeated."""
        await ended(self._erasing, LAST_SECONDS)

    async def _erase(self, namespace: Namespace) -> Holdings:
        self._times[namespace] += 1
        self._under_way[namespace] += 1
        try:
            await self._traces.forget(namespace)
            erased = await self._store.erase(namespace)
        finally:
            self._under_way -= Counter([namespace])
        self._events.publish(namespace, Event(ERASED, {}))
        log.info("a memory was erased: %d records", erased.records)
        return erased

    def _erased(self, erasing: asyncio.Task[Holdings]) -> None:
        self._erasing.discard(erasing)
        if not erasing.cancelled() and (error := erasing.exception()):
            log.warning("a memory could not be erased: %s", error)
