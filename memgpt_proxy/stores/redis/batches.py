"""Scripts of all callers that wait, as one request.

An idle sender begins at once; while as many requests are under way as may be, those who come wait
together and share the next. Each script still runs by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from memgpt_proxy.stores.redis.circuit import RedisUnavailable

MOST_IN_FLIGHT = 2
"""Requests at once: while one is answered, the next is on its way."""

MOST_TOGETHER = 128
"""Scripts of one request: what these tell is some 100 KB."""

Command = tuple[str | bytes | float, ...]

Send = Callable[[Sequence[Command]], Awaitable[Sequence[Any]]]
"""Sends commands and returns an answer, or an error, for each. Raises RedisUnavailable."""


class _Asked(NamedTuple):
    command: Command
    future: asyncio.Future[Any]


class Batches:
    """Gathers commands.

    Args:
        send: What sends them.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[_Asked] = []
        self._flights: set[asyncio.Task[None]] = set()

    async def run(self, command: Command) -> Any:
        """Return what a command was answered. Raises RedisUnavailable, or the answer's error.

        A command is sent even when its caller has left.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(command, future))
        self._begin()
        return await future

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._flights:
            await asyncio.wait(self._flights)

    def _begin(self) -> None:
        while self._waiting and len(self._flights) < MOST_IN_FLIGHT:
            batch = self._waiting[:MOST_TOGETHER]
            del self._waiting[:MOST_TOGETHER]
            flight = asyncio.get_running_loop().create_task(self._fly(batch))
            self._flights.add(flight)
            flight.add_done_callback(self._land)

    def _land(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._begin()

    async def _fly(self, batch: Sequence[_Asked]) -> None:
        answers: Sequence[Any]
        try:
            answers = await self._send([asked.command for asked in batch])
        except RedisUnavailable as error:
            answers = [error for _ in batch]
        for asked, answer in zip(batch, answers, strict=True):
            if asked.future.done():
                continue
            if isinstance(answer, Exception):
                asked.future.set_exception(answer)
            else:
                asked.future.set_result(answer)
