"""Traces of turns, in every family that keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.protocols import TraceStore
from memgpt_proxy.stores.records import MOST_TRACES, Namespace, Trace, TurnId
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, BOB, EPOCH


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TraceStore]:
    opened = SqliteStore(tmp_path / "memory.db")
    await opened.open()
    yield opened
    await opened.close()


def trace(name: str, created: float = EPOCH, content: str = "{}") -> Trace:
    return Trace(TurnId(name), created, content)


async def turns(store: TraceStore, namespace: Namespace, limit: int = 10_000) -> list[str]:
    return [each.turn for each in await store.traces(namespace, limit=limit)]


async def test_there_is_none_at_first(store: TraceStore) -> None:
    assert await store.traces(ALICE, limit=10) == ()


async def test_what_is_kept_comes_back_newest_first(store: TraceStore) -> None:
    first = trace("t1", 1707264000.123456, '{"model": "m", "text": "naïve 東 \U0001f600"}')
    second = trace("t2", 1707264000.123457)
    await store.keep_traces({ALICE: [first, second]})
    assert await store.traces(ALICE, limit=10) == (second, first)


async def test_nobody_sees_those_of_another(store: TraceStore) -> None:
    await store.keep_traces({ALICE: [trace("a")], BOB: [trace("b")]})
    assert await turns(store, ALICE) == ["a"]
    assert await turns(store, BOB) == ["b"]


async def test_keeping_is_repeatable(store: TraceStore) -> None:
    await store.keep_traces({ALICE: [trace("t", content='{"n": 1}')]})
    await store.keep_traces({ALICE: [trace("t", content='{"n": 2}')]})
    assert [each.content for each in await store.traces(ALICE, limit=10)] == ['{"n": 1}']


async def test_pages_leave_none_out_even_of_one_moment(store: TraceStore) -> None:
    kept = [trace(f"t{n:02}", EPOCH + n // 4) for n in range(20)]
    await store.keep_traces({ALICE: kept, BOB: [trace("b", EPOCH + 2)]})
    seen: list[Trace] = []
    before = None
    while page := await store.traces(ALICE, limit=3, before=before):
        assert len(page) <= 3
        seen += page
        before = (page[-1].created, page[-1].turn)
    assert seen == sorted(kept, key=lambda each: (each.created, each.turn), reverse=True)


async def test_the_oldest_are_forgotten(store: TraceStore) -> None:
    await store.keep_traces({ALICE: [trace(f"t{n}", EPOCH + n) for n in range(MOST_TRACES)]})
    await store.keep_traces({BOB: [trace("b")]})
    await store.keep_traces({ALICE: [trace("new", EPOCH + 10_000)]})
    kept = await turns(store, ALICE)
    assert len(kept) == MOST_TRACES
    assert (kept[0], kept[-1]) == ("new", "t1")
    assert await turns(store, BOB) == ["b"]


async def test_what_cannot_be_stored_is_replaced(store: TraceStore) -> None:
    await store.keep_traces({ALICE: [trace("t", content="a\0b\ud800c")]})
    (kept,) = await store.traces(ALICE, limit=1)
    assert kept.content == "a\ufffdb\ufffdc"
