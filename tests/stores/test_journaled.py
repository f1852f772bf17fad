"""A store that goes away: what waits, what is refused, what is stored when it is back."""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from memgpt_proxy.stores.backlog import BATCH
from memgpt_proxy.stores.changes import Change, Committed
from memgpt_proxy.stores.codec import decode
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.journal import Journal, JournalFull
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import (
    StaleVersion,
    Store,
    StoreAway,
    StoreError,
    StoreUnavailable,
)
from memgpt_proxy.stores.records import (
    NO_TURN,
    Conversation,
    Counts,
    Namespace,
    NodeId,
    TurnId,
)
from memgpt_proxy.stores.redis import RedisConnection, connect
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, BOB, branch, ids, kept, message, passage, queue, record
from tests.stores.switched import Switch
from tests.stores.test_journal import answers
from tests.support.redis_server import RedisServer
from tests.support.scrape import samples

pytestmark = pytest.mark.slow

BOUND = 2**20
NEVER = (3600.0, 3600.0)
"""Probes that no test waits for: it says itself when."""
SOON = (0.01, 0.02)
DEADLINE = 10.0
NAME = NodeId("name")


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "memory.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def switch(embedded: SqliteStore) -> Switch:
    return Switch(embedded)


@pytest.fixture
def disk(tmp_path: Path) -> DiskJournal:
    return DiskJournal(tmp_path / "journal.db", BOUND)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def store(
    switch: Switch, disk: DiskJournal, telemetry: Telemetry
) -> AsyncIterator[JournaledStore]:
    async with opened(switch, [disk], telemetry) as journaled:
        yield journaled


@asynccontextmanager
async def opened(
    switch: Switch,
    journals: list[Journal],
    telemetry: Telemetry | None = None,
    probes: tuple[float, float] = NEVER,
    last: float = DEADLINE,
) -> AsyncIterator[JournaledStore]:
    journaled = JournaledStore(
        switch.store, journals, telemetry or Telemetry(), probes=probes, last=last
    )
    await journaled.open()
    yield journaled
    await journaled.close()


def begin(write: Coroutine[Any, Any, object]) -> None:
    """Begin a write that nobody waits for."""
    begun = asyncio.get_running_loop().create_task(write)
    begun.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - what happens in a task of the store's own
            await asyncio.sleep(0)


def measured(telemetry: Telemetry) -> dict[str, float]:
    families = text_string_to_metric_families(telemetry.exposition("")[0].decode())
    return {s.name: s.value for f in families for s in f.samples if "journal" in s.name}


def is_away(telemetry: Telemetry) -> float:
    told = samples(telemetry.exposition("")[0].decode())
    [value] = [each.value for each in told if each.name == "memgpt_store_away"]
    return value


def waiting(telemetry: Telemetry) -> dict[str, float]:
    """How many writes wait in each journal, as the metric tells."""
    told = samples(telemetry.exposition("")[0].decode())
    return {
        each.labels["journal"]: each.value
        for each in told
        if each.name == "memgpt_journal_waiting_writes"
    }


NEWER = b'{"written": {}}'


async def keep_newer(
    journal: Journal, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep what a release after this one would write."""
    with monkeypatch.context() as patch:
        for module in ("disk_journal", "redis.journal"):
            patch.setattr(f"memgpt_proxy.stores.{module}.encode", lambda _: NEWER)
        await journal.append(namespace, Committed(record()))


def decode_newer(data: bytes) -> Change:
    """Decode as such a release does."""
    return Committed(record(message("newer", "hi"))) if data == NEWER else decode(data)


READS: list[Callable[[Store], Awaitable[object]]] = [
    lambda store: store.read_turn(ALICE, [NodeId("m0")], enough=1),
    lambda store: store.path(ALICE, NodeId("m0"), 1),
    lambda store: store.after(ALICE, NodeId("m0")),
    lambda store: store.with_content(ALICE, [], limit=1),
    lambda store: store.conversation(ALICE, NAME),
    lambda store: store.search_messages(ALICE, "tea", limit=1, offset=0),
    lambda store: store.search_passages(ALICE, "tea", limit=1, offset=0),
    lambda store: store.context(ALICE),
    lambda store: store.context_at(ALICE, 0),
    lambda store: store.edits(ALICE, []),
    lambda store: store.counts(ALICE),
    lambda store: store.ping(),
]

WRITES: list[Callable[[Store], Awaitable[object]]] = [
    lambda store: store.commit(ALICE, record(message("m0", "hi"))),
    lambda store: store.insert_passages(ALICE, [passage("p", "text")]),
    lambda store: store.hide_passages(ALICE, [TurnId("t")]),
    lambda store: store.show_passages(ALICE, [TurnId("t")]),
]


class TestAway:
    async def test_a_store_that_is_here_is_asked(
        self, store: JournaledStore, disk: DiskJournal
    ) -> None:
        await store.commit(ALICE, record(message("m0", "hi")))
        assert not store.degraded
        assert await disk.waiting() == 0
        assert await store.counts(ALICE) == Counts(1, 0)

    @pytest.mark.parametrize("read", READS)
    async def test_it_is_found_away_by_any_read(
        self, store: JournaledStore, switch: Switch, read: Callable[[Store], Awaitable[object]]
    ) -> None:
        switch.here = False
        with pytest.raises(StoreAway):
            await read(store)
        assert store.degraded
        switch.here = True  # but it is not asked again before it is back
        with pytest.raises(StoreUnavailable):
            await read(store)
        assert await store.come_back()
        await read(store)

    @pytest.mark.parametrize("write", WRITES)
    async def test_a_write_waits(
        self,
        store: JournaledStore,
        switch: Switch,
        disk: DiskJournal,
        write: Callable[[Store], Awaitable[object]],
    ) -> None:
        switch.here = False
        await write(store)
        assert store.degraded
        assert await disk.waiting() == 1
        switch.here = True
        await write(store)
        assert await disk.waiting() == 2
        assert await store.come_back()
        assert await disk.waiting() == 0
        assert not store.degraded

    async def test_what_waited_is_stored_once_and_in_order(
        self, store: JournaledStore, switch: Switch, embedded: SqliteStore
    ) -> None:
        switch.here = False
        nodes = branch([f"text {depth}" for depth in range(200)])
        for node in nodes:
            await store.commit(ALICE, record(node, queues=[queue(node.id, 0, f"at {node.id}")]))
            await store.commit(BOB, record(node))
        assert switch.commits == []
        switch.here = True
        assert await store.come_back()
        for space in (ALICE, BOB):
            assert [name for each, name in switch.commits if each == space] == ids(nodes)
            assert await embedded.counts(space) == Counts(200, 0)
        turn = await store.read_turn(ALICE, ids(nodes), enough=200)
        assert turn.queue == queue("m199", 0, "at m199")

    async def test_passages_are_hidden_and_shown_in_order(
        self, store: JournaledStore, switch: Switch
    ) -> None:
        switch.here = False
        one, other = TurnId("s"), TurnId("t")
        await store.insert_passages(ALICE, [passage("p", "x", turn=one)])
        await store.insert_passages(ALICE, [passage("q", "x", turn=other)])
        await store.hide_passages(ALICE, [one, other])
        await store.show_passages(ALICE, [other])
        switch.here = True
        assert await store.come_back()
        found = await store.search_passages(ALICE, "x", limit=9, offset=0)
        assert [hit.id for hit in found.hits] == ["q"]

    async def test_a_write_whose_answer_is_lost_is_there_once(
        self, store: JournaledStore, switch: Switch, disk: DiskJournal
    ) -> None:
        switch.answers = False
        await store.commit(ALICE, record(message("m0", "hi")))
        await store.insert_passages(ALICE, [passage("p", "text")])
        assert await disk.waiting() == 2
        assert not await store.come_back()
        switch.answers = True
        assert await store.come_back()
        assert await store.counts(ALICE) == Counts(1, 1)

    async def test_it_goes_away_again_amid_the_draining(
        self, store: JournaledStore, switch: Switch, disk: DiskJournal
    ) -> None:
        switch.here = False
        for name in "abc":
            await store.commit(ALICE, record(message(name, "hi")))
        switch.here, switch.answers = True, False
        assert not await store.come_back()
        assert await disk.waiting() == 3
        assert store.degraded

    async def test_what_is_written_during_the_draining_comes_behind(
        self, store: JournaledStore, switch: Switch, disk: DiskJournal
    ) -> None:
        switch.here = False
        await store.commit(ALICE, record(message("first", "hi")))
        switch.here = True
        back = asyncio.get_running_loop().create_task(store.come_back())
        names = ["first"]
        while not back.done():
            names.append(f"m{len(names)}")
            await store.commit(ALICE, record(message(names[-1], "hi")))
        assert await back
        await store.commit(ALICE, record(message("last", "hi")))
        assert [name for _, name in switch.commits] == [*names, "last"]
        assert await disk.waiting() == 0

    async def test_many_writers_do_not_keep_it_away(
        self, store: JournaledStore, switch: Switch
    ) -> None:
        """Without holding them up for a moment the journal would never be empty."""
        switch.here = False
        written: list[str] = []

        async def write(writer: int) -> None:
            number = 0
            while store.degraded or number == 0:
                name = f"{writer}-{number}"
                await store.commit(ALICE, record(message(name, "hi")))
                written.append(name)
                number += 1
                await asyncio.sleep(0)

        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as writers:
            for writer in range(32):
                writers.create_task(write(writer))
            await until(lambda: len(written) >= 32)
            switch.here = True
            while not await store.come_back():
                """It goes on where it was."""
        assert await store.counts(ALICE) == Counts(len(written), 0)


class TestRefused:
    async def test_an_edit_is_there_or_refused(self, store: JournaledStore, switch: Switch) -> None:
        switch.here = False
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.write_context(ALICE, 0, "lost", NodeId("m"), NO_TURN)
        switch.here = True
        assert await store.come_back()
        assert (await store.write_context(ALICE, 0, "kept", NodeId("m"), NO_TURN)).version == 1
        with pytest.raises(StaleVersion):
            await store.write_context(ALICE, 0, "stale", NodeId("m"), NO_TURN)
        assert not store.degraded

    async def test_what_the_store_refuses_goes_to_the_caller(
        self, store: JournaledStore, disk: DiskJournal
    ) -> None:
        with pytest.raises(StoreError) as refused:
            await store.commit(ALICE, record(message("m", "hi", tokens=2**63)))
        assert not isinstance(refused.value, StoreUnavailable)
        assert not store.degraded
        assert await disk.waiting() == 0

    async def test_a_metric_tells_that_it_is_away(
        self, store: JournaledStore, switch: Switch, telemetry: Telemetry
    ) -> None:
        assert is_away(telemetry) == 0
        switch.here = False
        await store.commit(ALICE, record(message("m0", "hi")))
        assert is_away(telemetry) == 1
        switch.here = True
        assert await store.come_back()
        assert is_away(telemetry) == 0

    async def test_what_it_refuses_for_good_is_put_aside(
        self,
        store: JournaledStore,
        switch: Switch,
        disk: DiskJournal,
        telemetry: Telemetry,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        switch.here = False
        await store.commit(ALICE, record(message("first", "hi")))
        await store.commit(ALICE, record(message("bad", "a secret", tokens=2**63)))
        await store.commit(ALICE, record(message("last", "hi")))
        switch.here = True
        assert await store.come_back()
        assert ids(await kept(store, ALICE, ["first", "bad", "last"])) == ["first", "last"]
        assert await disk.waiting() == 0
        assert measured(telemetry)["memgpt_journal_put_aside_writes_total"] == 1
        assert measured(telemetry)["memgpt_journal_drained_writes_total"] == 2
        assert "put aside" in caplog.text
        assert "secret" not in caplog.text

    async def test_what_a_newer_release_has_kept_is_left_to_it(
        self,
        store: JournaledStore,
        switch: Switch,
        disk: DiskJournal,
        telemetry: Telemetry,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It holds up those that are behind it in its namespace, and nobody else."""
        switch.here = False
        await store.commit(ALICE, record(message("before", "hi")))
        await keep_newer(disk, ALICE, monkeypatch)
        await store.commit(ALICE, record(message("behind", "hi")))
        await store.commit(BOB, record(message("other", "hi")))
        switch.here = True
        assert await store.come_back()
        assert not store.degraded
        assert sorted(switch.commits) == sorted([(ALICE, "before"), (BOB, "other")])
        assert await disk.waiting() == 2
        assert measured(telemetry)["memgpt_journal_put_aside_writes_total"] == 0
        assert "is a newer release's" in caplog.text
        monkeypatch.setattr("memgpt_proxy.stores.backlog.decode", decode_newer)
        assert await store.come_back()
        assert switch.commits[2:] == [(ALICE, "newer"), (ALICE, "behind")]
        assert await disk.waiting() == 0

    async def test_what_is_left_to_a_newer_release_holds_up_nobody_else_however_much_it_is(
        self,
        store: JournaledStore,
        switch: Switch,
        disk: DiskJournal,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        switch.here = False
        await keep_newer(disk, ALICE, monkeypatch)
        for number in range(2 * BATCH):
            await store.commit(ALICE, record(message(f"behind{number}", "hi")))
        await store.commit(BOB, record(message("other", "hi")))
        switch.here = True
        assert await store.come_back()
        assert switch.commits == [(BOB, "other")]
        assert await disk.waiting() == 1 + 2 * BATCH

    async def test_no_more_waits_than_may(
        self, switch: Switch, tmp_path: Path, telemetry: Telemetry
    ) -> None:
        small = DiskJournal(tmp_path / "small.db", 2000)
        async with opened(switch, [small], telemetry) as store:
            switch.here = False
            await store.commit(ALICE, record(message("m0", "hi")))
            with pytest.raises(StoreUnavailable):
                await store.commit(ALICE, record(message("large", "x" * 2000)))
            assert measured(telemetry)["memgpt_journal_refused_writes_total"] == 1
            assert measured(telemetry)["memgpt_journal_waiting_writes"] == 1
            switch.here = True
            assert await store.come_back()
            assert await store.counts(ALICE) == Counts(1, 0)
            assert measured(telemetry)["memgpt_journal_waiting_writes"] == 0

    async def test_a_journal_that_is_full_is_told_of_once_until_the_store_is_back(
        self, switch: Switch, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        small = DiskJournal(tmp_path / "small.db", 4000)
        async with opened(switch, [small]) as store:
            for outage in (1, 2):
                switch.here = False
                for name in ("a", "b", "c"):
                    with pytest.raises(StoreUnavailable):
                        await store.commit(ALICE, record(message(f"{name}{outage}", "x" * 4000)))
                    await store.commit(ALICE, record(message(f"small {name}{outage}", "hi")))
                told = [each.getMessage() for each in caplog.records if "cannot" in each.message]
                assert len(told) == outage
                assert told[-1].startswith("a write cannot wait in the disk journal: ")
                switch.here = True
                assert await store.come_back()


class TestCancelled:
    async def test_a_write_is_carried_out_all_the_same(
        self, store: JournaledStore, switch: Switch, disk: DiskJournal
    ) -> None:
        loop = asyncio.get_running_loop()
        for here in (True, False):
            switch.here = here
            writing = loop.create_task(store.commit(ALICE, record(message(f"m{here}", "hi"))))
            await asyncio.sleep(0)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            if here:
                await store.ping()  # it waits for what is being written
                assert await store.counts(ALICE) == Counts(1, 0)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        assert await disk.waiting() == 1

    async def test_what_becomes_of_it_is_told(
        self, switch: Switch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(switch, []) as store:
            switch.here = False
            writing = asyncio.get_running_loop().create_task(store.commit(ALICE, record()))
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
        assert "could not be stored" in caplog.text


class TestOpening:
    async def test_without_its_store(
        self, switch: Switch, disk: DiskJournal, caplog: pytest.LogCaptureFixture
    ) -> None:
        switch.here = False
        async with opened(switch, [disk]) as store:
            assert store.degraded
            assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == [
                "the store is away, its writes wait in a journal: switched off"
            ]
            await store.commit(ALICE, record(message("m0", "hi")))
            switch.here = True
            assert await store.come_back()
            assert await store.counts(ALICE) == Counts(1, 0)

    async def test_what_waits_from_before_is_stored_first(
        self, switch: Switch, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal.db"
        before = DiskJournal(path, BOUND)
        await before.open()
        await before.append(ALICE, Committed(record(message("m0", "hi"))))
        await before.close()
        async with opened(switch, [DiskJournal(path, BOUND)]) as store:
            assert store.degraded
            await store.commit(ALICE, record(message("m1", "hi")))
            await until(lambda: not store.degraded)
            assert switch.commits == [(ALICE, "m0"), (ALICE, "m1")]

    async def test_one_that_is_back_is_opened_anew(
        self, switch: Switch, store: JournaledStore
    ) -> None:
        """It may have been started anew, and have lost what was made ready for it."""
        for times in (1, 2):
            assert switch.opened == times
            switch.here = False
            await store.commit(ALICE, record(message(f"m{times}", "hi")))
            switch.here = True
            assert await store.come_back()
        await store.ping()
        assert switch.opened == 3

    async def test_it_comes_back_by_itself(self, switch: Switch, disk: DiskJournal) -> None:
        async with opened(switch, [disk], probes=SOON) as store:
            for name in ("m0", "m1"):
                switch.here = False
                await store.commit(ALICE, record(message(name, "hi")))
                assert store.degraded
                switch.here = True
                await until(lambda: not store.degraded)
            assert await store.counts(ALICE) == Counts(2, 0)

    async def test_an_error_in_the_program_is_told_at_once_and_ends_no_watching(
        self,
        switch: Switch,
        embedded: SqliteStore,
        disk: DiskJournal,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def broken() -> None:
            raise RuntimeError("a mistake")

        async with opened(switch, [disk], probes=SOON) as store:
            monkeypatch.setattr(embedded, "ping", broken)
            switch.here = False
            await store.commit(ALICE, record(message("m0", "hi")))
            switch.here = True
            await until(lambda: caplog.text.count("RuntimeError: a mistake") > 1)
            assert "watching the store has failed" in caplog.text
            assert "Traceback" in caplog.text
            assert store.degraded
            monkeypatch.undo()
            await until(lambda: not store.degraded)
            assert await store.counts(ALICE) == Counts(1, 0)

    async def test_an_error_in_the_program_at_the_end_leaves_nothing_open(
        self,
        switch: Switch,
        embedded: SqliteStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        closed = []

        class Seen(DiskJournal):
            async def close(self) -> None:
                closed.append(self.name)
                await super().close()

        async def broken() -> None:
            raise RuntimeError("a mistake")

        async def live() -> None:
            async with opened(switch, [Seen(tmp_path / "journal.db", BOUND)]) as store:
                switch.here = False
                await store.commit(ALICE, record(message("m0", "hi")))
                switch.here = True

        monkeypatch.setattr(embedded, "ping", broken)
        with pytest.raises(RuntimeError, match="a mistake"):
            await live()
        assert closed == ["disk"]

    async def test_what_waits_is_stored_when_it_is_closed_if_its_store_is_there(
        self, switch: Switch, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal.db"
        async with opened(switch, [DiskJournal(path, BOUND)]) as store:
            switch.here = False
            await store.commit(ALICE, record(message("m0", "hi")))
            switch.here = True
        assert switch.commits == [(ALICE, "m0")]
        async with opened(switch, [DiskJournal(path, BOUND)]) as store:
            assert not store.degraded, "nothing waits any more"

    async def test_what_the_store_never_answers_is_kept_when_it_is_closed(
        self, switch: Switch, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "journal.db"
        async with asyncio.timeout(DEADLINE):
            async with opened(switch, [DiskJournal(path, BOUND)], last=0.01) as store:
                switch.hangs = True
                for name in ("m0", "m1"):
                    begin(store.commit(ALICE, record(message(name, "hi"))))
                await asyncio.sleep(0)
            switch.hangs = False
            assert "does not answer" in caplog.text
            async with opened(switch, [DiskJournal(path, BOUND)], probes=SOON) as store:
                await until(lambda: not store.degraded)
                assert switch.commits == [(ALICE, "m0"), (ALICE, "m1")]

    async def test_what_can_neither_be_stored_nor_kept_is_told_when_it_is_closed(
        self, switch: Switch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with asyncio.timeout(DEADLINE), opened(switch, [], last=0.01) as store:
            switch.hangs = True
            begin(store.commit(ALICE, record(message("m0", "hi"))))
            await asyncio.sleep(0)
        assert "a write could not be stored before the end" in caplog.text

    async def test_a_store_that_can_never_be_used_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "memory.db"
        store = SqliteStore(path)
        await store.open()
        await store.close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        journaled = JournaledStore(SqliteStore(path), [], Telemetry())
        with pytest.raises(StoreError, match="newer release"):
            await journaled.open()


@pytest.mark.redis
class TestFleet:
    """Replicas that share a store and a journal in Redis."""

    @pytest.fixture
    async def redis(self, redis_server: RedisServer) -> AsyncIterator[RedisConnection]:
        redis_server.ask("CONFIG", "SET", "appendfsync", "always")  # it is killed
        connection = connect(redis_server.url)
        yield connection
        await connection.close()

    async def test_one_drains_what_another_has_kept(
        self, switch: Switch, redis: RedisConnection
    ) -> None:
        one, other = RedisJournal(redis, BOUND), RedisJournal(redis, BOUND)
        async with opened(switch, [one]) as first, opened(switch, [other]) as second:
            switch.here = False
            await first.commit(ALICE, record(message("m0", "hi")))
            await second.commit(ALICE, record(message("m1", "hi")))
            switch.here = True
            assert await second.come_back()
            assert await first.come_back()
            assert switch.commits == [(ALICE, "m0"), (ALICE, "m1")]

    async def test_what_a_newer_release_has_kept_is_for_a_replica_of_it_to_drain(
        self, switch: Switch, redis: RedisConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        older, newer = RedisJournal(redis, BOUND), RedisJournal(redis, BOUND)
        await keep_newer(newer, ALICE, monkeypatch)
        async with opened(switch, [older]) as first:
            assert await first.come_back()
            assert switch.commits == []
            assert await newer.lead()
            monkeypatch.setattr("memgpt_proxy.stores.backlog.decode", decode_newer)
            async with opened(switch, [newer]) as second:
                assert await second.come_back()
                assert switch.commits == [(ALICE, "newer")]

    async def test_none_is_back_while_another_drains(
        self, switch: Switch, redis: RedisConnection
    ) -> None:
        one, other = RedisJournal(redis, BOUND), RedisJournal(redis, BOUND)
        async with opened(switch, [one]) as first:
            switch.here = False
            await first.commit(ALICE, record(message("m0", "hi")))
            switch.here = True
            assert await other.lead()  # as the one that drains, and is slow
            assert not await first.come_back()
            assert first.degraded
            await other.close()
            assert await first.come_back()

    async def test_what_a_dead_replica_has_left_is_stored(
        self, switch: Switch, redis: RedisConnection
    ) -> None:
        dead = RedisJournal(redis, BOUND, lease=0.05)
        await dead.append(ALICE, Committed(record(message("m0", "hi"))))
        await dead.append(ALICE, Committed(record(message("m1", "hi"))))
        assert await dead.lead()
        async with opened(switch, [RedisJournal(redis, BOUND)], probes=SOON):
            await until(lambda: len(switch.commits) == 2)
        # Closed before the journal knows of the last one, it may ask for that once more.
        assert [*dict.fromkeys(switch.commits)] == [(ALICE, "m0"), (ALICE, "m1")]

    async def test_a_replica_that_is_well_looks_for_what_others_leave(
        self, switch: Switch, redis: RedisConnection
    ) -> None:
        async with opened(switch, [RedisJournal(redis, BOUND)], probes=SOON) as store:
            await RedisJournal(redis, BOUND).append(ALICE, Committed(record(message("m0", "hi"))))
            await until(lambda: bool(switch.commits))
            assert not store.degraded

    async def test_a_conversation_that_has_come_further_stays_there(
        self, switch: Switch, redis: RedisConnection
    ) -> None:
        """One replica cannot reach the store, and another, which can, goes on with it."""
        cut_off = Switch(switch._store)
        one, other = RedisJournal(redis, BOUND), RedisJournal(redis, BOUND)
        nodes = branch(["a", "b"])
        async with opened(cut_off, [one]) as first, opened(switch, [other]) as second:
            cut_off.here = False
            for number, (replica, node) in enumerate(zip((first, second), nodes, strict=True)):
                named = Conversation(NAME, node.id, resends=False)
                await replica.commit(ALICE, record(node, conversation=named, created=number))
            assert await second.come_back()
            assert await second.conversation(ALICE, NAME) == Conversation(NAME, NodeId("m1"), False)

    async def test_without_redis_writes_wait_on_disk(
        self, switch: Switch, redis: RedisConnection, redis_server: RedisServer, disk: DiskJournal
    ) -> None:
        shared = RedisJournal(redis, BOUND)
        async with opened(switch, [shared, disk]) as store:
            switch.here = False
            await store.commit(ALICE, record(message("m0", "hi")))
            redis_server.kill()
            await store.commit(ALICE, record(message("m1", "hi")))
            redis_server.start()
            await answers(redis)
            await store.commit(ALICE, record(message("m2", "hi")))  # behind the one before
            assert (await shared.waiting(), await disk.waiting()) == (1, 2)
            switch.here = True
            assert await store.come_back()
            assert [name for _, name in switch.commits] == ["m0", "m1", "m2"]

    async def test_with_redis_away_what_is_at_hand_is_stored(
        self, switch: Switch, redis: RedisConnection, redis_server: RedisServer, disk: DiskJournal
    ) -> None:
        async with opened(switch, [RedisJournal(redis, BOUND), disk]) as store:
            switch.here = False
            await store.commit(ALICE, record(message("m0", "hi")))
            redis_server.kill()
            await store.commit(ALICE, record(message("m1", "hi")))
            switch.here = True
            assert await store.come_back()
            assert not store.degraded
            await store.commit(ALICE, record(message("m2", "hi")))
            assert [name for _, name in switch.commits] == ["m1", "m2"]
            redis_server.start()
            await answers(redis)
            assert await store.come_back()
            assert [name for _, name in switch.commits] == ["m1", "m2", "m0"]

    async def test_a_journal_that_is_away_is_told_of_once_and_when_it_is_back(
        self,
        switch: Switch,
        redis: RedisConnection,
        redis_server: RedisServer,
        disk: DiskJournal,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("INFO", "memgpt_proxy.stores.backlog")
        async with opened(switch, [RedisJournal(redis, BOUND), disk]) as store:
            redis_server.kill()
            for _ in range(3):
                assert await store.come_back()
            redis_server.start()
            await answers(redis)
            for _ in range(2):
                assert await store.come_back()
        told = [each for each in caplog.records if each.name == "memgpt_proxy.stores.backlog"]
        lost, found = [record.getMessage() for record in told]
        assert lost.startswith("the redis journal cannot be drained now: Redis is unavailable")
        assert found == "the redis journal can be drained again"

    async def test_what_waits_in_a_journal_that_is_away_is_not_told_as_last_seen(
        self,
        switch: Switch,
        redis: RedisConnection,
        redis_server: RedisServer,
        disk: DiskJournal,
        telemetry: Telemetry,
    ) -> None:
        async with opened(switch, [RedisJournal(redis, BOUND), disk], telemetry) as store:
            switch.here = False
            await store.commit(ALICE, record(message("m0", "hi")))
            assert waiting(telemetry) == {"redis": 1, "disk": 0}
            redis_server.kill()
            assert not await store.come_back()
            assert math.isnan(waiting(telemetry)["redis"])
            await store.commit(ALICE, record(message("m1", "hi")))
            assert waiting(telemetry)["disk"] == 1
            redis_server.start()
            await answers(redis)
            assert not await store.come_back()
            assert waiting(telemetry) == {"redis": 2, "disk": 0}

    async def test_what_other_replicas_keep_is_told_while_the_store_is_away(
        self, switch: Switch, redis: RedisConnection, telemetry: Telemetry
    ) -> None:
        async with opened(switch, [RedisJournal(redis, BOUND)], telemetry) as store:
            switch.here = False
            await store.commit(ALICE, record(message("m0", "hi")))
            await RedisJournal(redis, BOUND).append(ALICE, Committed(record(message("m1", "hi"))))
            assert not await store.come_back()
            assert waiting(telemetry) == {"redis": 2}

    async def test_a_full_redis_is_followed_by_the_disk(
        self, switch: Switch, redis: RedisConnection, disk: DiskJournal
    ) -> None:
        shared = RedisJournal(redis, 500)
        with pytest.raises(JournalFull):
            await shared.append(ALICE, Committed(record(message("large", "x" * 500))))
        async with opened(switch, [shared, disk]) as store:
            switch.here = False
            for name in ("m0", "m1", "m2"):
                await store.commit(ALICE, record(message(name, "hi")))
            assert (await shared.waiting(), await disk.waiting()) == (1, 2)
            switch.here = True
            assert await store.come_back()
            assert [name for _, name in switch.commits] == ["m0", "m1", "m2"]
