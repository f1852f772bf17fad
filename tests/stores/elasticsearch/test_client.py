"""What the server's answers, and none, mean to a caller."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch import client as client_module
from memgpt_proxy.stores.elasticsearch import store as store_module
from memgpt_proxy.stores.elasticsearch.client import connect, send, server_version
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable
from tests.stores.build import ALICE, message, record
from tests.stores.elasticsearch.scripted import Answer, Asked, serving
from tests.support.process import free_port


def told(number: str) -> Answer:
    async def answer(_: Asked) -> tuple[int, Any]:
        return 200, {"version": {"number": number}}

    return answer


def failing(status: int, kind: str = "some_exception") -> Answer:
    async def answer(_: Asked) -> tuple[int, Any]:
        return status, {"error": {"type": kind, "reason": "because"}, "status": status}

    return answer


@pytest.mark.parametrize("number", ["8.0.0", "8.19.3", "9.4.3"])
async def test_elasticsearch_8_and_9_are_spoken_to(number: str) -> None:
    async with serving(told(number)) as (_, client):
        assert await server_version(client) == number


@pytest.mark.parametrize("number", ["7.17.29", "10.0.0", "2.19.1"])
async def test_others_are_refused_in_one_line(number: str) -> None:
    async with serving(told(number)) as (_, client):
        with pytest.raises(StoreError, match=rf"version {number}: Elasticsearch 8 or 9 is needed"):
            await server_version(client)


async def test_what_is_not_elasticsearch_is_refused() -> None:
    async with serving(told("9.4.3"), product=None) as (_, client):
        with pytest.raises(StoreError, match="not Elasticsearch") as caught:
            await server_version(client)
        assert not isinstance(caught.value, StoreUnavailable)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, "es_rejected_execution_exception"),
        (500, "some_exception"),
        (502, "some_exception"),
        (503, "unavailable_shards_exception"),
        (504, "some_exception"),
        (403, "cluster_block_exception"),
        (400, "index_closed_exception"),
    ],
)
async def test_what_passes_is_unavailable(status: int, kind: str) -> None:
    async with serving(failing(status, kind)) as (server, client):
        with pytest.raises(StoreUnavailable):
            await send(client, "GET", "/_any")
        assert len(server.asked) == (3 if status in (429, 502, 503, 504) else 1)


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_not_let_in_may_be_later(status: int) -> None:
    async with serving(failing(status)) as (_, client):
        with pytest.raises(StoreUnavailable, match=f"{status} some_exception: because"):
            await send(client, "GET", "/_any")


@pytest.mark.parametrize("status", [400, 404, 409, 413])
async def test_what_stays_is_an_error(status: int) -> None:
    async with serving(failing(status)) as (_, client):
        with pytest.raises(StoreError, match=f"{status} some_exception: because") as caught:
            await send(client, "GET", "/_any")
        assert not isinstance(caught.value, StoreUnavailable)


async def test_what_is_no_json_is_an_error() -> None:
    async def answer(_: Asked) -> tuple[int, Any]:
        return 200, "a page of a proxy"

    async with serving(answer) as (_, client):
        with pytest.raises(StoreError):
            await server_version(client)


async def test_each_node_meets_an_error_when_a_store_is_opened() -> None:
    met: list[str] = []

    def node(name: str) -> Answer:
        async def answer(asked: Asked) -> tuple[int, Any]:
            if asked.path == "/memgpt-transcript/_doc/none":
                met.append(name)
                return 400, {"error": {"type": "routing_missing_exception", "reason": "because"}}
            return 200, {"version": {"number": "9.4.3"}} if asked.path == "/" else {"some-v1": {}}

        return answer

    async with serving(node("a")) as (a, _), serving(node("b")) as (b, _):
        store = ElasticsearchStore(Connection([a.url, b.url]))
        await store.open()
        await store.close()
    assert sorted(met) == ["a", "b"]


async def test_a_dead_server_is_unavailable() -> None:
    store = ElasticsearchStore(Connection([f"http://127.0.0.1:{free_port()}"]))
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await store.open()
    await store.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is looked into at once, and a server that says nothing then is given up soon."""
    monkeypatch.setattr(client_module, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "PULSE_SECONDS", 0.05)


@pytest.mark.usefixtures("hurried")
async def test_a_server_that_says_nothing_at_all_is_not_waited_for() -> None:
    async def nothing(_: Asked) -> tuple[int, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(nothing) as (server, client):
        with pytest.raises(StoreUnavailable, match="says nothing"):
            await send(client, "POST", "/_any")
        assert [each.path for each in server.asked] == ["/_any", "/"]


@pytest.mark.usefixtures("hurried")
async def test_a_server_that_is_slow_and_alive_is_waited_for() -> None:
    alive = asyncio.Event()

    async def slow(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/":
            alive.set()
            return 200, {}
        await alive.wait()
        return 200, {"slow": True}

    async with serving(slow) as (_, client):
        assert await send(client, "POST", "/_any") == {"slow": True}


@pytest.mark.usefixtures("hurried")
async def test_a_server_that_lets_a_request_hang_is_not_waited_for_in_each_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "MOST_SECONDS", 0.1)

    async def answer(asked: Asked) -> tuple[int, Any]:
        if asked.path != "/":
            await asyncio.Event().wait()
        return 200, {}

    async with serving(answer) as (server, client), asyncio.timeout(4):  # an attempt takes five
        with pytest.raises(StoreUnavailable, match="too long"):
            await send(client, "POST", "/_any")
        assert [each.path for each in server.asked] == ["/_any", "/"]


@pytest.mark.usefixtures("hurried")
async def test_an_error_of_a_server_that_was_quiet_is_its_own() -> None:
    asked_again = asyncio.Event()

    async def answer(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/":
            asked_again.set()
            return 503, {}
        await asked_again.wait()
        return 400, {"error": {"type": "some_exception", "reason": "because"}}

    async with serving(answer) as (_, client):
        with pytest.raises(StoreError, match="400 some_exception: because"):
            await send(client, "POST", "/_any")


async def test_a_caller_that_leaves_takes_its_request_along() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def never(_: Asked) -> tuple[int, Any]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(never) as (_, client), asyncio.timeout(10):
        caller = asyncio.get_running_loop().create_task(send(client, "POST", "/_any"))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await ended.wait()


async def test_what_is_never_answered_does_not_keep_it_from_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that hangs with some requests, and answers others."""
    begun = asyncio.Event()

    async def answer(asked: Asked) -> tuple[int, Any]:
        if asked.path in ("/_mget", "/_bulk"):
            begun.set()
            await asyncio.Event().wait()
        return 200, {"version": {"number": "9.4.3"}} if asked.path == "/" else {"some-v1": {}}

    monkeypatch.setattr(store_module, "LAST_SECONDS", 0.01)
    async with serving(answer) as (server, _), asyncio.timeout(10):
        store = ElasticsearchStore(Connection([server.url]))
        await store.open()
        commit = asyncio.get_running_loop().create_task(store.commit(ALICE, record(message("m0"))))
        await begun.wait()
        await store.close()
        with pytest.raises(asyncio.CancelledError):
            await commit


async def test_what_is_not_open_accepts_nothing() -> None:
    store = ElasticsearchStore(Connection(["http://127.0.0.1:1"]))
    with pytest.raises(StoreError, match="not open"):
        await store.commit(ALICE, record(message("m0")))
    await store.close()


@pytest.mark.parametrize(
    "connection",
    [
        Connection(["no url"]),
        Connection(["https://127.0.0.1"], ca_file=Path("/nowhere/ca.pem")),
        Connection(["http://127.0.0.1"], api_key="k", basic_auth=("u", "p")),
    ],
)
def test_a_connection_that_cannot_be_is_an_error(connection: Connection) -> None:
    with pytest.raises(StoreError):
        connect(connection)
