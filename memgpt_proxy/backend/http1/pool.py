"""The connections: which are idle, how many there may be, who waits for one."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass

import httpx

from memgpt_proxy.backend.http1.connection import Connection
from memgpt_proxy.backend.http1.dial import Dialer
from memgpt_proxy.backend.http1.origin import Origin

# How long a connection is kept without use, in seconds.
IDLE_AT_MOST = 30.0


@dataclass(slots=True, eq=False)
class _Waiter:
    origin: Origin
    fresh: bool
    turn: asyncio.Future[Connection | None]


class Pool:
    """Connections to all origins, at most ``limit`` of them.

    Who waits is served in order: while anybody waits, no connection is idle.
    """

    def __init__(self, limit: int, dialer: Dialer) -> None:
        self._limit = limit
        self._dialer = dialer
        self._connections: set[Connection] = set()
        self._opening = 0
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._waiters: deque[_Waiter] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._closed_times = 0
        self._emptied: asyncio.Future[None] | None = None

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection, the one used last; None if there is none."""
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        return None

    async def acquire(
        self, origin: Origin, timeouts: dict[str, float | None], *, fresh: bool
    ) -> Connection:
        """Return a connection: a new one, or where none may be opened, the next given back.

        Args:
            timeouts: ``pool`` and ``connect``, in seconds.
            fresh: Take a new one only.

        Raises:
            httpx.PoolTimeout: None came free in time.
            httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError: A new one could not be
                opened.
        """
        while True:
            connection = await self._turn(origin, timeouts.get("pool"), fresh=fresh)
            if connection is None:
                return await self._open(origin, timeouts.get("connect"))
            if not connection.closed:
                return connection

    async def aclose(self) -> None:
        """Close all connections; whoever uses or awaits one gets an error.

        Requests that come later open new ones.
        """
        self._closing = True
        self._closed_times += 1
        self._stop_sweeping()
        while (waiter := self._next_waiter()) is not None:
            self._waiters.popleft()
            waiter.turn.set_exception(_closed())
        for connection in self._connections:
            connection.shut()
        if self._connections:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)
        self._emptied = None
        self._closing = False

    # What a connection tells.

    def released(self, connection: Connection) -> None:
        """Take back a connection that can serve again, and give it to who waits longest."""
        waiter = self._next_waiter()
        if waiter is None and not self._closing:
            self._rest(connection)
        elif waiter is not None and waiter.origin == connection.origin and not waiter.fresh:
            self._waiters.popleft()
            waiter.turn.set_result(connection)
        else:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection; another may be opened in its place."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        if connection in (idle := self._idle[connection.origin]):
            idle.remove(connection)
        self._admit()
        if self._emptied is not None and not self._connections and not self._emptied.done():
            self._emptied.set_result(None)

    # Turns and places.

    async def _turn(
        self, origin: Origin, timeout: float | None, *, fresh: bool
    ) -> Connection | None:
        """Wait for a connection, or for the place to open one, which is None."""
        if self._closing:
            raise _closed()
        if len(self._connections) + self._opening < self._limit:
            self._opening += 1
            return None
        self._evict_oldest()
        waiter = _Waiter(origin, fresh, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter.turn
        except TimeoutError as error:
            self._leave(waiter)
            raise httpx.PoolTimeout("No connection came free in time.") from error
        except BaseException:
            self._leave(waiter)
            raise

    def _leave(self, waiter: _Waiter) -> None:
        """Wait no more, and hand on what may have been given meanwhile."""
        turn = waiter.turn
        if turn.cancel() or turn.cancelled() or turn.exception() is not None:
            return
        connection = turn.result()
        if connection is None:
            self._opening -= 1
            self._admit()
        elif not connection.closed:
            self.released(connection)

    def _next_waiter(self) -> _Waiter | None:
        while self._waiters and self._waiters[0].turn.done():
            self._waiters.popleft()
        return self._waiters[0] if self._waiters else None

    def _admit(self) -> None:
        """Give a free place to who waits longest."""
        waiter = self._next_waiter()
        if waiter is not None and len(self._connections) + self._opening < self._limit:
            self._waiters.popleft()
            self._opening += 1
            waiter.turn.set_result(None)

    async def _open(self, origin: Origin, timeout: float | None) -> Connection:
        connection = Connection(origin, self)
        closed_times = self._closed_times
        try:
            await self._dialer.dial(origin, connection, timeout=timeout)
            if self._closed_times > closed_times:
                connection.abort()
                raise _closed()
        except BaseException:
            self._opening -= 1
            self._admit()
            raise
        self._opening -= 1
        if connection.closed:
            self._admit()
        else:
            self._connections.add(connection)
        return connection

    # Idle connections.

    def _rest(self, connection: Connection) -> None:
        connection.idle_since = connection.loop.time()
        self._idle[connection.origin].append(connection)
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(IDLE_AT_MOST, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; come back when the next one will have been."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        kept = []
        for connection in self._resting():
            if connection.idle_since + IDLE_AT_MOST <= loop.time():
                connection.abort()
            else:
                kept.append(connection.idle_since)
        if kept:
            self._sweeper = loop.call_at(min(kept) + IDLE_AT_MOST, self._sweep)

    def _stop_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _evict_oldest(self) -> None:
        """Make room: close the idle connection that was used longest ago."""
        oldest = min(self._resting(), key=lambda connection: connection.idle_since, default=None)
        if oldest is not None:
            oldest.abort()

    def _resting(self) -> list[Connection]:
        return [one for idle in self._idle.values() for one in idle if not one.closed]


def _closed() -> httpx.ConnectError:
    return httpx.ConnectError("The transport is closed.")
