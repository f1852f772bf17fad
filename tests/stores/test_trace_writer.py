"""Traces on their way: gathered, written soon, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from memgpt_proxy.stores import trace_writer
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Namespace, Trace, TurnId
from memgpt_proxy.stores.trace_writer import TraceWriter
from tests.stores.build import ALICE, BOB, EPOCH


class Kept:
    """A store that counts its writes, and can be away."""

    def __init__(self) -> None:
        self.writes: list[Mapping[Namespace, Sequence[Trace]]] = []
        self.written = asyncio.Event()
        self.away = False

    async def keep_traces(self, kept: Mapping[Namespace, Sequence[Trace]]) -> None:
        self.writes.append(kept)
        self.written.set()
        if self.away:
            raise StoreUnavailable("away")

    async def traces(
        self, namespace: Namespace, *, limit: int, before: tuple[float, TurnId] | None = None
    ) -> tuple[Trace, ...]:
        return tuple(trace for write in self.writes for trace in write.get(namespace, ()))[:limit]


def trace(name: str) -> Trace:
    return Trace(TurnId(name), EPOCH, "{}")


async def written(store: Kept) -> None:
    async with asyncio.timeout(10):
        await store.written.wait()
    store.written.clear()


async def test_what_comes_together_is_written_together() -> None:
    store = Kept()
    writer = TraceWriter(store, gather=0.01)
    await writer.open()
    writer.keep(ALICE, trace("a1"))
    writer.keep(BOB, trace("b1"))
    writer.keep(ALICE, trace("a2"))
    await written(store)
    writer.keep(ALICE, trace("a3"))
    await written(store)
    await writer.close()
    assert store.writes == [
        {ALICE: [trace("a1"), trace("a2")], BOB: [trace("b1")]},
        {ALICE: [trace("a3")]},
    ]


async def test_who_reads_sees_what_still_waited() -> None:
    writer = TraceWriter(Kept(), gather=3600)
    await writer.open()
    writer.keep(ALICE, trace("a1"))
    assert await writer.traces(ALICE, limit=10, before=None) == (trace("a1"),)
    await writer.close()


async def test_closing_writes_what_waits() -> None:
    store = Kept()
    writer = TraceWriter(store, gather=3600)
    await writer.open()
    writer.keep(ALICE, trace("a1"))
    await writer.close()
    assert store.writes == [{ALICE: [trace("a1")]}]


async def test_a_store_that_is_away_stops_nothing() -> None:
    store = Kept()
    store.away = True
    writer = TraceWriter(store, gather=0.01)
    await writer.open()
    writer.keep(ALICE, trace("lost"))
    await written(store)
    store.away = False
    writer.keep(ALICE, trace("a1"))
    await written(store)
    await writer.close()
    assert store.writes[1:] == [{ALICE: [trace("a1")]}]


async def test_what_an_outage_costs_is_told_once_and_counted_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", trace_writer.__name__)
    store = Kept()
    writer = TraceWriter(store)
    for away, traces in [(True, 2), (True, 1), (True, 3), (False, 1), (False, 1), (True, 4)]:
        store.away = away
        for number in range(traces):
            writer.keep(ALICE, trace(f"t{number}"))
        await writer.traces(ALICE, limit=1, before=None)
    await writer.close()
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "traces of turns are lost: away"),
        ("INFO", "traces of turns are kept again; 6 are lost"),
        ("WARNING", "traces of turns are lost: away"),
        ("WARNING", "4 traces of turns are lost"),
    ]


async def test_what_waits_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace_writer, "MOST_WAITING", 2)
    store = Kept()
    writer = TraceWriter(store)
    for name in ("a1", "a2", "a3"):
        writer.keep(ALICE, trace(name))
    with caplog.at_level("INFO", trace_writer.__name__):
        await writer.close()
    assert store.writes == [{ALICE: [trace("a1"), trace("a2")]}]
    assert caplog.messages == ["traces of turns are kept again; 1 are lost"]


async def test_what_waits_of_an_erased_memory_is_dropped() -> None:
    store = Kept()
    writer = TraceWriter(store, gather=3600.0)
    await writer.open()
    for namespace in (ALICE, BOB, ALICE):
        writer.keep(namespace, trace("t"))
    await writer.forget(ALICE)
    assert writer.waiting() == 1
    await writer.close()
    assert store.writes == [{BOB: [trace("t")]}]


async def test_what_the_store_never_takes_does_not_keep_it_from_closing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(Kept):
        async def keep_traces(self, kept: Mapping[Namespace, Sequence[Trace]]) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(trace_writer, "LAST_SECONDS", 0.01)
    writer = TraceWriter(Hanging())
    writer.keep(ALICE, trace("t"))
    async with asyncio.timeout(10):
        await writer.close()
    assert caplog.messages == ["1 traces of turns are lost"]
