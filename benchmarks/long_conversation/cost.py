"""CPU and bytes of a turn: a gateway of its own process, beside a server that only reads."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import httpx

from benchmarks.long_conversation.backend import WINDOW
from benchmarks.long_conversation.client import Conversation, Sends
from benchmarks.long_conversation.plan import Plan
from benchmarks.process import Command, Cores, Running, free_port, running

SETTLED_SECONDS = 0.02
"""What a turn does after its reply is done by then; it is part of its cost."""


@dataclass(frozen=True, slots=True)
class TurnCost:
    """CPU seconds of one turn, and of reading its request; the request's bytes."""

    gateway: float
    reading: float
    request: int


@dataclass(frozen=True, slots=True)
class Cost:
    """The measured turns at one length, and the mean size of their prompts in bytes."""

    turns: Sequence[TurnCost]
    prompt: float
    summaries: int


@dataclass(frozen=True, slots=True)
class Served:
    """A started server and a client of it."""

    process: Running
    client: httpx.AsyncClient


@dataclass(frozen=True, slots=True)
class Bench:
    """What a measurement needs running."""

    gateway: Served
    reader: Served
    backend: Served

    async def cost(self, plan: Plan, length: int, sends: Sends) -> Cost:
        turns: list[TurnCost] = []
        steps: list[int] = []
        summaries = 0
        async for conversation in plan.conversations(self.gateway.client, length, sends):
            await self.backend.client.post("/prompts")
            for _ in range(plan.turns_of_one(length)):
                turns.append(await self._turn(conversation, sends))
            taken = (await self.backend.client.post("/prompts")).json()
            steps += taken["steps"]
            summaries += len(taken["summaries"])
        return Cost(turns, mean(steps), summaries)

    async def _turn(self, conversation: Conversation, sends: Sends) -> TurnCost:
        body = conversation.next_request(sends)
        await asyncio.sleep(SETTLED_SECONDS)  # a core that comes from other work, at any length
        reading = self.reader.process.scheduled_seconds()
        await self.reader.client.post("/read", content=body)
        reading = self.reader.process.scheduled_seconds() - reading
        gateway = self.gateway.process.scheduled_seconds()
        await conversation.ask(self.gateway.client, body, sends)
        await asyncio.sleep(SETTLED_SECONDS)
        gateway = self.gateway.process.scheduled_seconds() - gateway
        return TurnCost(gateway, reading, len(body))


@asynccontextmanager
async def bench(directory: Path) -> AsyncIterator[Bench]:
    """Start gateway, reader and backend for the time of the block; the first two share a core."""
    cores = Cores.split()
    os.sched_setaffinity(0, cores.others)
    async with AsyncExitStack() as stack:
        backend = await _started(stack, directory, "backend", "/v1/models", cores.others)
        reader = await _started(stack, directory, "reader", "/ready", [cores.measured])
        url = backend.client.base_url.join("/v1")
        options = ["--data-dir", str(directory / "data"), "--backend-url", str(url)]
        yield Bench(
            await _started(stack, directory, "gateway", "/readyz", [cores.measured], options),
            reader,
            backend,
        )
    os.sched_setaffinity(0, {*cores.others, cores.measured})


async def _started(
    stack: AsyncExitStack,
    directory: Path,
    name: str,
    ready: str,
    cores: Sequence[int],
    options: Sequence[str] = (),
) -> Served:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    arguments = [f"benchmarks.long_conversation.{name}", str(port)]
    if name == "gateway":
        arguments = ["memgpt_proxy", "serve", "--port", str(port), *options]
        arguments += ["--context-window", str(WINDOW), "--log-level", "error"]
    command = Command([sys.executable, "-m", *arguments], directory / f"{name}.log")
    process = stack.enter_context(running(command, cores))
    await asyncio.to_thread(process.wait_until_ready, f"{origin}{ready}")
    client = httpx.AsyncClient(base_url=origin, timeout=60)
    return Served(process, await stack.enter_async_context(client))
