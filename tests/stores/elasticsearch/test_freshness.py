"""Refreshes: made where something was written, shared by all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from memgpt_proxy.stores.elasticsearch.freshness import Freshness
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Owner
from tests.stores.elasticsearch.scripted import Asked, ScriptedServer, serving

DEADLINE = 10.0
A, B = Owner("1"), Owner("2")


class Refreshes:
    """A server whose refreshes end when they are let go."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def answer(self, _: Asked) -> tuple[int, Any]:
        released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun.put_nowait(released)
        await released
        return 200, {}


@pytest.fixture
async def refreshes() -> Refreshes:
    return Refreshes()


@pytest.fixture
async def served(refreshes: Refreshes) -> AsyncIterator[tuple[ScriptedServer, Freshness]]:
    async with asyncio.timeout(DEADLINE), serving(refreshes.answer) as (server, client):
        freshness = Freshness(client)
        yield server, freshness
        await freshness.close()


async def test_nothing_is_refreshed_where_nothing_was_written(
    served: tuple[ScriptedServer, Freshness],
) -> None:
    server, freshness = served
    freshness.wrote("i", A)
    await freshness.ensure("i", B)
    await freshness.ensure("j", A)
    assert server.asked == []


async def test_all_who_wait_share_a_refresh(
    served: tuple[ScriptedServer, Freshness], refreshes: Refreshes
) -> None:
    server, freshness = served
    freshness.wrote("i", A)
    freshness.wrote("i", B)
    async with asyncio.TaskGroup() as group:
        for owner in [A, B, A, B]:
            group.create_task(freshness.ensure("i", owner))
        (await refreshes.begun.get()).set_result(None)
    await freshness.ensure("i", A)
    assert [asked.path for asked in server.asked] == ["/i/_refresh"]


async def test_a_refresh_that_had_begun_before_a_write_is_not_enough(
    served: tuple[ScriptedServer, Freshness], refreshes: Refreshes
) -> None:
    _, freshness = served
    freshness.wrote("i", A)
    async with asyncio.TaskGroup() as group:
        group.create_task(freshness.ensure("i", A))
        first = await refreshes.begun.get()
        freshness.wrote("i", B)
        waiting = group.create_task(freshness.ensure("i", B))
        await asyncio.sleep(0)
        assert refreshes.begun.empty()  # never two of an index at once
        first.set_result(None)
        second = await refreshes.begun.get()
        assert not waiting.done()
        second.set_result(None)


async def test_always_means_before_every_search(
    served: tuple[ScriptedServer, Freshness], refreshes: Refreshes
) -> None:
    _, freshness = served
    freshness.always = True
    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            group.create_task(freshness.ensure("i", A))
            (await refreshes.begun.get()).set_result(None)


async def test_one_who_leaves_takes_it_from_nobody(
    served: tuple[ScriptedServer, Freshness], refreshes: Refreshes
) -> None:
    _, freshness = served
    freshness.wrote("i", A)
    loop = asyncio.get_running_loop()
    leaves, stays = (loop.create_task(freshness.ensure("i", A)) for _ in range(2))
    released = await refreshes.begun.get()
    leaves.cancel()
    await asyncio.wait([leaves])
    released.set_result(None)
    await stays


async def test_a_refresh_that_fails_fails_the_search() -> None:
    async def answer(_: Asked) -> tuple[int, Any]:
        return 503, {}

    async with serving(answer) as (_, client):
        freshness = Freshness(client)
        freshness.wrote("i", A)
        with pytest.raises(StoreUnavailable):
            await freshness.ensure("i", A)
