"""Writes that share a request: their order, their size, and what fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.bulk import Action, Bulk
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable
from memgpt_proxy.stores.records import Owner
from tests.stores.elasticsearch.scripted import Asked, ScriptedServer, serving, written

DEADLINE = 10.0
A, B, C = Owner("1"), Owner("2"), Owner("3")


class Held:
    """Answers of a server that holds requests back until it is told to let them go."""

    def __init__(self) -> None:
        self.holding = True
        self.arrived: asyncio.Queue[tuple[Asked, asyncio.Future[None]]] = asyncio.Queue()

    async def answer(self, asked: Asked) -> tuple[int, Any]:
        if self.holding:
            released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.arrived.put_nowait((asked, released))
            await released
        return 200, written(asked)

    async def next(self) -> tuple[Asked, asyncio.Future[None]]:
        async with asyncio.timeout(DEADLINE):
            return await self.arrived.get()


@pytest.fixture
async def held() -> Held:
    return Held()


@pytest.fixture
async def client(held: Held) -> AsyncIterator[AsyncElasticsearch]:
    async with serving(held.answer) as (_, opened):
        yield opened


def action(name: str, text: str = "") -> Action:
    return Action("index", "memory", name, {"text": text})


async def test_an_idle_writer_begins_at_once_and_a_busy_one_gathers(
    held: Held, client: AsyncElasticsearch
) -> None:
    bulk = Bulk(client, most_in_flight=1)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        group.create_task(bulk.carry_out(A, [action("a")]))
        first, release = await held.next()
        for name in "bcd":
            group.create_task(bulk.carry_out(Owner(name), [action(name)]))
        await asyncio.sleep(0)
        release.set_result(None)
        second, release = await held.next()
        release.set_result(None)
    assert (first.ids, second.ids) == (["a"], ["b", "c", "d"])


async def test_requests_of_one_owner_follow_one_another(
    held: Held, client: AsyncElasticsearch
) -> None:
    bulk = Bulk(client, most_in_flight=2)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        group.create_task(bulk.carry_out(A, [action("a1")]))
        first, release_first = await held.next()
        for owner, name in [(A, "a2"), (B, "b1"), (A, "a3")]:
            group.create_task(bulk.carry_out(owner, [action(name)]))
        second, release_second = await held.next()
        release_second.set_result(None)
        await asyncio.sleep(0)
        assert held.arrived.empty()
        release_first.set_result(None)
        third, release = await held.next()
        release.set_result(None)
    assert (first.ids, second.ids, third.ids) == (["a1"], ["b1"], ["a2", "a3"])


async def test_requests_are_bounded(held: Held, client: AsyncElasticsearch) -> None:
    bulk = Bulk(client, most_bytes=3000)
    held.holding = False
    large = [action(f"n{number}", "x" * 900) for number in range(7)]
    async with serving(held.answer) as (server, opened):
        bulk = Bulk(opened, most_bytes=3000)
        outcomes = await bulk.carry_out(A, large)
        await bulk.carry_out(A, [action("huge", "x" * 9000)])
    assert len(outcomes) == 7
    assert [len(asked.ids) for asked in server.asked] == [3, 3, 1, 1]
    assert [name for asked in server.asked for name in asked.ids][:7] == [a.id for a in large]


async def test_what_was_accepted_is_sent_though_its_caller_leaves(
    held: Held, client: AsyncElasticsearch
) -> None:
    bulk = Bulk(client, most_in_flight=1)
    loop = asyncio.get_running_loop()
    first = loop.create_task(bulk.carry_out(A, [action("a")]))
    _, release = await held.next()
    second = loop.create_task(bulk.carry_out(B, [action("b")]))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    release.set_result(None)
    asked, release = await held.next()
    release.set_result(None)
    async with asyncio.timeout(DEADLINE):
        await bulk.close()
    assert asked.ids == ["b"]


async def test_what_is_refused_fails_no_other() -> None:
    async def answer(asked: Asked) -> tuple[int, Any]:
        if "bad" in asked.ids:
            return 400, {"error": {"type": "illegal_argument_exception", "reason": "bad"}}
        return 200, written(asked)

    async with serving(answer) as (_, client):
        outcomes = await three(Bulk(client, most_in_flight=1))
    assert [type(outcome) for outcome in outcomes[:2]] == [list, list]
    assert isinstance(outcomes[2], StoreError)


async def test_a_server_that_is_away_fails_all_of_a_request() -> None:
    async def answer(_: Asked) -> tuple[int, Any]:
        return 503, {"error": {"type": "unavailable", "reason": "away"}}

    async with serving(answer) as (_, client):
        outcomes = await three(Bulk(client, most_in_flight=1))
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3


async def test_who_waits_behind_one_that_fails_so_does_not_ask_again() -> None:
    """A server that lets each request hang would have them wait one after the other."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_: Asked) -> tuple[int, Any]:
        asked.set()
        await go_on.wait()
        return 500, {}

    async with serving(answer) as (server, client), asyncio.timeout(DEADLINE):
        bulk, loop = Bulk(client, most_in_flight=1), asyncio.get_running_loop()
        first = loop.create_task(bulk.carry_out(A, [action("a")]))
        await asked.wait()
        behind = [loop.create_task(bulk.carry_out(each, [action(each)])) for each in (A, B)]
        await asyncio.sleep(0)
        go_on.set()
        outcomes = await asyncio.gather(first, *behind, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
        assert sent(server) == ["a"]


async def three(bulk: Bulk) -> list[Any]:
    """Three callers' writes, of which one is bad."""
    asked = [bulk.carry_out(*each) for each in [(A, [action("a")]), (B, [action("b")])]]
    bad = bulk.carry_out(C, [action("bad")])
    async with asyncio.timeout(DEADLINE):
        return await asyncio.gather(*asked, bad, return_exceptions=True)


async def test_a_request_that_breaks_off_tells_so() -> None:
    """What a caller's first request has written stays; the rest is not sent."""

    async def answer(asked: Asked) -> tuple[int, Any]:
        if "n3" in asked.ids:
            return 500, {}
        return 200, written(asked)

    async with serving(answer) as (server, client):
        bulk = Bulk(client, most_bytes=3000)
        with pytest.raises(StoreUnavailable):
            await bulk.carry_out(A, [action(f"n{n}", "x" * 900) for n in range(9)])
        assert sent(server) == ["n0", "n1", "n2", "n3", "n4", "n5"]


def sent(server: ScriptedServer) -> list[str]:
    return [name for asked in server.asked for name in asked.ids]
