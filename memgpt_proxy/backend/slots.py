"""How many requests a backend serves at a time; the others wait in line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import ceil

from memgpt_proxy.errors import BackendBusy


class Slots:
    """Places at a backend, given in the order of asking.

    Args:
        limit: Requests at the same time.
        most_waiting: How many may wait.
        seconds: How long one waits.
        told: Called with the number that wait, whenever it changes.
    """

    def __init__(
        self, limit: int, most_waiting: int, seconds: float, told: Callable[[int], None]
    ) -> None:
        self._free = asyncio.Semaphore(limit)
        self._most_waiting = most_waiting
        self._seconds = seconds
        self._told = told
        self._waiting = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold a place. Raises BackendBusy where too many wait, or none came free in time."""
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()  # at once
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self) -> None:
        if self._waiting >= self._most_waiting:
            raise self._busy("The backend is busy, and as many requests wait for it as may.")
        self._count(1)
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise self._busy("The backend is busy: no place came free in time.") from error
        finally:
            self._count(-1)

    def _count(self, by: int) -> None:
        self._waiting += by
        self._told(self._waiting)

    def _busy(self, message: str) -> BackendBusy:
        return BackendBusy(message, ceil(min(self._seconds, 60.0)))
