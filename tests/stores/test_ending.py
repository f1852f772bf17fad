"""How tasks are ended: by themselves in time, else cancelled, as often as it takes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from memgpt_proxy.stores.ending import ended

DEADLINE = 10.0


async def test_what_ends_in_time_is_not_cancelled() -> None:
    event = asyncio.Event()
    task = asyncio.get_running_loop().create_task(event.wait())
    asyncio.get_running_loop().call_soon(event.set)
    await ended([task], DEADLINE)
    assert task.result()


async def test_what_does_not_is_cancelled() -> None:
    task = asyncio.get_running_loop().create_task(asyncio.Event().wait())
    async with asyncio.timeout(DEADLINE):
        await ended([task], 0.01)
    assert task.cancelled()


async def test_there_may_be_none() -> None:
    await ended([], DEADLINE)


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    waiting = asyncio.Event()

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            waiting.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(stubborn())
    await waiting.wait()
    async with asyncio.timeout(DEADLINE):
        await ended([task])
    assert task.cancelled()
