"""Traces of turns, in every family that keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.protocols import TraceStore
from memgpt_proxy.stores.records import MOST_TRACES, Namespace, Trace, TurnId
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.conftest import SHARED_PREFIX
from tests.stores.build import EPOCH
from tests.support.elasticsearch import ElasticsearchNode


@pytest.fixture(params=["sqlite", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TraceStore]:
    opened: SqliteStore | ElasticsearchStore = SqliteStore(tmp_path / "memory.db")
    if request.param == "elasticsearch":
        node: ElasticsearchNode = request.getfixturevalue("elasticsearch")
        opened = ElasticsearchStore(Connection([node.url]), prefix=SHARED_PREFIX)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def alice() -> Namespace:
    return Namespace(f"alice-{uuid4().hex}")


@pytest.fixture
def bob() -> Namespace:
    return Namespace(f"bob-{uuid4().hex}")


def trace(name: str, created: float = EPOCH, content: str = "{}") -> Trace:
    return Trace(TurnId(name), created, content)


async def turns(store: TraceStore, namespace: Namespace, limit: int = 10_000) -> list[str]:
    return [each.turn for each in await store.traces(namespace, limit=limit)]


async def test_there_is_none_at_first(store: TraceStore, alice: Namespace, bob: Namespace) -> None:
    assert await store.traces(alice, limit=10) == ()


async def test_what_is_kept_comes_back_newest_first(
    store: TraceStore, alice: Namespace, bob: Namespace
) -> None:
    first = trace("t1", 1707264000.123456, '{"model": "m", "text": "naïve 東 \U0001f600"}')
    second = trace("t2", 1707264000.123457)
    await store.keep_traces({alice: [first, second]})
    assert await store.traces(alice, limit=10) == (second, first)


async def test_nobody_sees_those_of_another(
    store: TraceStore, alice: Namespace, bob: Namespace
) -> None:
    await store.keep_traces({alice: [trace("a")], bob: [trace("b")]})
    assert await turns(store, alice) == ["a"]
    assert await turns(store, bob) == ["b"]


async def test_keeping_is_repeatable(store: TraceStore, alice: Namespace, bob: Namespace) -> None:
    await store.keep_traces({alice: [trace("t", content='{"n": 1}')]})
    await store.keep_traces({alice: [trace("t", content='{"n": 2}')]})
    assert [each.content for each in await store.traces(alice, limit=10)] == ['{"n": 1}']


async def test_pages_leave_none_out_even_of_one_moment(
    store: TraceStore, alice: Namespace, bob: Namespace
) -> None:
    kept = [trace(f"t{n:02}", EPOCH + n // 4) for n in range(20)]
    await store.keep_traces({alice: kept, bob: [trace("b", EPOCH + 2)]})
    seen: list[Trace] = []
    before = None
    while page := await store.traces(alice, limit=3, before=before):
        assert len(page) <= 3
        seen += page
        before = (page[-1].created, page[-1].turn)
    assert seen == sorted(kept, key=lambda each: (each.created, each.turn), reverse=True)


async def test_the_oldest_are_forgotten(
    store: TraceStore, alice: Namespace, bob: Namespace
) -> None:
    await store.keep_traces({alice: [trace("old", EPOCH - 1)], bob: [trace("b", EPOCH - 1)]})
    # Elasticsearch forgets with one in 64.
    kept = [trace(f"t{n}", EPOCH + n) for n in range(2 * MOST_TRACES)]
    await store.keep_traces({alice: kept})
    newest = [each.turn for each in kept[-MOST_TRACES:][::-1]]
    assert await turns(store, alice) == newest
    assert await turns(store, bob) == ["b"]


async def test_what_cannot_be_stored_is_replaced(
    store: TraceStore, alice: Namespace, bob: Namespace
) -> None:
    await store.keep_traces({alice: [trace("t", content="a\0b\ud800c")]})
    (kept,) = await store.traces(alice, limit=1)
    assert kept.content == "a\ufffdb\ufffdc"
