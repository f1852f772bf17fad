"""Replicas are replaced one after the other under load: nobody loses a word."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Gate, Reply, text, wait
from tests.support.round_robin import RoundRobin, balanced

TALKERS = 6
BETWEEN = 30
"""Replies that are heard while a replica drains, and after it."""


class Load:
    """People who have one reply after the other streamed to them by the ``openai`` package."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._heard = 0
        self._more = asyncio.Condition()
        self.stopping = False

    async def hear(self, more: int) -> None:
        """Return when so many more replies have been heard."""
        async with self._more, asyncio.timeout(20):
            goal = self._heard + more
            await self._more.wait_for(lambda: self._heard >= goal)

    async def talk(self, key: str) -> None:
        async with openai.AsyncOpenAI(
            base_url=self._base_url, api_key=key, max_retries=0
        ) as client:
            for number in itertools.count():
                if self.stopping:
                    return
                assert await streamed(client, f"{key}-{number}") == f"You said {key}-{number}."
                async with self._more:
                    self._heard += 1
                    self._more.notify_all()


async def streamed(client: openai.AsyncOpenAI, words: str, began: Gate | None = None) -> str:
    """Ask, and return the whole reply; an error or an end without a reason fails the test."""
    messages: Any = [{"role": "user", "content": words}]
    stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
    heard, finished = "", None
    async for chunk in stream:
        heard += chunk.choices[0].delta.content or ""
        finished = chunk.choices[0].finish_reason or finished
        if began is not None and heard:
            began.open()
    assert finished == "stop"
    return heard


async def replaced(replica: GatewayProcess, balancer: RoundRobin, load: Load, gate: Gate) -> None:
    """End a replica, with a long reply under way, and start it again."""
    async with (
        openai.AsyncOpenAI(base_url=replica.base_url, api_key="long", max_retries=0) as client,
        asyncio.TaskGroup() as group,
    ):
        await streamed(client, "hello")  # of an unknown model the first answer is held back
        began = Gate()
        long = group.create_task(streamed(client, "long", began))
        await asyncio.wrap_future(began.opened)
        os.kill(replica.pid, signal.SIGTERM)
        await balancer.until(replica, ready=False)
        await load.hear(BETWEEN)
        gate.open()
        assert await long == "Once upon a time."
    assert await asyncio.to_thread(replica.wait_for_end) == 0
    await load.hear(BETWEEN)
    await asyncio.to_thread(replica.start)
    await balancer.until(replica, ready=True)
    await load.hear(BETWEEN)


@pytest.mark.slow
async def test_nothing_is_lost_in_a_rolling_restart(
    backend: ScriptedBackend, start_gateway: Callable[..., GatewayProcess]
) -> None:
    options = ("--reply-mode", "content", "--drain-delay-seconds", "1")
    replicas = [await asyncio.to_thread(start_gateway, *options) for _ in range(2)]
    gates = [Gate(), Gate()]
    waiting = iter(gates)

    def answer(request: dict[str, Any]) -> Reply:
        said = request["messages"][-1]["content"]
        if said == "long":
            return text("Once upon ") + wait(next(waiting)) + text("a time.")
        return text(f"You said {said}.")

    backend.script(answer)
    async with balanced(replicas) as (balancer, url):
        load = Load(url)
        async with asyncio.TaskGroup() as talkers:
            for number in range(TALKERS):
                talkers.create_task(load.talk(f"talker-{number}"))
            for replica, gate in zip(replicas, gates, strict=True):
                await replaced(replica, balancer, load, gate)
            load.stopping = True
    for replica in replicas:
        assert "Traceback" not in replica.log()
