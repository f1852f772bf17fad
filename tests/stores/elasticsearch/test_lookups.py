"""Look-ups that share a request, and fail alone."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from memgpt_proxy.stores.elasticsearch import lookups
from memgpt_proxy.stores.elasticsearch.lookups import LookUps, Wanted
from memgpt_proxy.stores.elasticsearch.names import document_id
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Owner
from tests.stores.elasticsearch.scripted import Asked, serving

A, B = Owner("1"), Owner("2")
RED = {"error": {"type": "no_shard_available_action_exception", "reason": "red"}}


def wanted(*names: str) -> list[Wanted]:
    return [Wanted("memory", "node", name) for name in names]


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Each document's content is its id; B's are not there, and its red ones are away."""
    if document["_id"] == document_id(B, "node", "red"):
        return RED
    source = {"id": document["_id"]}
    there = {"found": True, "_seq_no": 3, "_primary_term": 1, "_source": source}
    return there if document["routing"] == A else {"found": False}


async def answer(asked: Asked) -> tuple[int, Any]:
    return 200, {"docs": [told(document) for document in orjson.loads(asked.body)["docs"]]}


async def test_those_of_one_moment_are_one_request() -> None:
    async with serving(answer) as (server, client):
        look_ups = LookUps(client)
        both, none, one = await asyncio.gather(
            look_ups.get(A, wanted("a", "b")),
            look_ups.get(B, wanted("a")),
            look_ups.get(A, wanted("c")),
        )
        assert len(server.asked) == 1
        found = [each.source["id"] for each in (*both, *one) if each is not None]
        assert found == [document_id(A, "node", name) for name in "abc"]
        assert none == [None]
        await look_ups.get(A, wanted("d"))
        assert len(server.asked) == 2


async def test_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "MOST_GOT", 4)
    async with serving(answer) as (server, client):
        look_ups = LookUps(client)
        many, some = await asyncio.gather(
            look_ups.get(A, wanted(*map(str, range(9)))), look_ups.get(A, wanted("a", "b"))
        )
        assert (len(many), len(some)) == (9, 2)
        assert sorted(len(orjson.loads(asked.body)["docs"]) for asked in server.asked) == [
            1,
            2,
            4,
            4,
        ]


async def test_a_shard_that_is_away_fails_only_those_who_ask_for_it() -> None:
    async with serving(answer) as (server, client):
        look_ups = LookUps(client)
        red, fine = await asyncio.gather(
            look_ups.get(B, wanted("red", "b")),
            look_ups.get(A, wanted("a")),
            return_exceptions=True,
        )
        assert len(server.asked) == 1
        assert isinstance(red, StoreUnavailable)
        assert not isinstance(fine, BaseException)


async def test_a_server_that_is_away_fails_all() -> None:
    async def away(_: Asked) -> tuple[int, Any]:
        return 503, {}

    async with serving(away) as (_, client):
        look_ups = LookUps(client)
        asked = [look_ups.get(owner, wanted("a")) for owner in (A, B)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2


async def test_one_who_leaves_takes_it_from_nobody() -> None:
    async with serving(answer) as (_, client):
        look_ups = LookUps(client)
        leaves, stays = look_ups.get(A, wanted("a")), look_ups.get(A, wanted("b"))
        leaves.cancel()
        assert len(await stays) == 1
        await look_ups.close()
