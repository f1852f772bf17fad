"""People who talk for a while, each in one conversation after another, two with one key."""

import asyncio
import itertools
import random
from contextlib import suppress

import httpx
import orjson

from benchmarks.dashboard.backend import AT_ONCE, MODELS

TURNS = 40
"""Turns of a conversation, enough for a small window to be flushed."""
MESSAGE = "And what about the tea that we had in the garden, when it rained? "

AT_ONCE_PART = 0.02
"""Of their turns, those before which somebody has two things remembered at the same time."""
LEAVING_PART = 0.01
"""Those before which somebody asks, and leaves before there is an answer."""
PATIENCE = 0.02
"""Seconds after which who leaves does so."""


async def talk(base_url: str, people: int, seconds: float) -> None:
    """Have so many people talk to the gateway, for so long."""
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for number in range(people):
                    group.create_task(_person(client, number))


async def _person(client: httpx.AsyncClient, number: int) -> None:
    chance = random.Random(number)
    headers = {"authorization": f"Bearer sk-pair-{number // 2}"}
    for conversation in itertools.count():
        said = [{"role": "user", "content": f"Conversation {conversation}."}]
        for _ in range(TURNS):
            if chance.random() < AT_ONCE_PART:
                await _twice_at_once(client, headers)
            if chance.random() < LEAVING_PART:
                await _left(client, headers, said)
            reply = await _asked(client, headers, MODELS[number % 2], said)
            if reply is not None:
                message = MESSAGE * chance.randrange(1, 8)
                said += [
                    {"role": "assistant", "content": reply},
                    {"role": "user", "content": message},
                ]
            await asyncio.sleep(chance.expovariate(4))


async def _twice_at_once(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Have two edits of one working context race: one of them comes second."""
    said = [{"role": "user", "content": AT_ONCE}]
    await asyncio.gather(*(_asked(client, headers, model, said) for model in MODELS))


async def _left(
    client: httpx.AsyncClient, headers: dict[str, str], said: list[dict[str, str]]
) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await _asked(client, headers, MODELS[1], said)


async def _asked(
    client: httpx.AsyncClient, headers: dict[str, str], model: str, said: list[dict[str, str]]
) -> str | None:
    """Return the reply, or None where there was none."""
    body = {"model": model, "messages": said, "stream": True}
    heard = ""
    async with client.stream("POST", "/chat/completions", json=body, headers=headers) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                for choice in orjson.loads(line[6:]).get("choices", ()):
                    heard += choice["delta"].get("content") or ""
    return heard or None
