"""A load balancer: connections go to replicas in turn, while these say that they are ready."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import httpx

from tests.support.process import ServerProcess

LOOKS = 0.05
"""Seconds between looks at a replica."""


class RoundRobin:
    """Hands connections through, each to the next replica that is ready."""

    def __init__(self, replicas: Sequence[ServerProcess]) -> None:
        self._replicas = replicas
        self._turns = itertools.cycle(replicas)
        self._ready: set[int] = set()
        self._changed = asyncio.Condition()

    async def until(self, replica: ServerProcess, *, ready: bool) -> None:
        """Return once it is known that a replica is ready, or is not any more."""
        async with self._changed, asyncio.timeout(15):
            await self._changed.wait_for(lambda: (replica.port in self._ready) is ready)

    async def hand_through(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection, as ``asyncio.start_server`` asks for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._ready))
            replica = next(each for each in self._turns if each.port in self._ready)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", replica.port)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pipe(reader, back))
                group.create_task(_pipe(there, writer))
        finally:
            writer.close()

    async def watch(self) -> None:
        """Look at the replicas again and again."""
        async with httpx.AsyncClient() as client:
            while True:
                ready = {each.port for each in self._replicas if await _is_ready(client, each)}
                async with self._changed:
                    self._ready = ready
                    self._changed.notify_all()
                await asyncio.sleep(LOOKS)


async def _is_ready(client: httpx.AsyncClient, replica: ServerProcess) -> bool:
    try:
        answer = await client.get(f"{replica.origin}/readyz", headers={"connection": "close"})
    except httpx.TransportError:
        return False
    return answer.status_code == 200


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, and then the end; an end of either side is not held back."""
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def balanced(replicas: Sequence[ServerProcess]) -> AsyncIterator[tuple[RoundRobin, str]]:
    """Balance replicas; gives the balancer and its base URL."""
    balancer = RoundRobin(replicas)
    server = await asyncio.start_server(balancer.hand_through, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(balancer.watch())
        try:
            for replica in replicas:
                await balancer.until(replica, ready=True)
            yield balancer, f"http://127.0.0.1:{port}/v1"
        finally:
            watching.cancel()
            server.close()
