"""What waits on one process's disk goes to the journal that others share, once that is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from memgpt_proxy.stores.changes import Shown
from memgpt_proxy.stores.codec import encode
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.journal import Entry
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Counts, TurnId
from memgpt_proxy.stores.redis import RedisConnection, connect
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, BOB, message, passage, record
from tests.stores.switched import Switch
from tests.stores.test_journal import answers
from tests.stores.test_journaled import BOUND, disk, embedded, opened, switch, waiting
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.redis]


__all__ = ["disk", "embedded", "switch"]


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisConnection]:
    redis_server.ask("CONFIG", "SET", "appendfsync", "always")  # it is killed
    connection = connect(redis_server.url)
    yield connection
    await connection.close()


@pytest.fixture
def shared(redis: RedisConnection) -> RedisJournal:
    return RedisJournal(redis, BOUND)


async def say(store: JournaledStore, *names: str) -> None:
    for name in names:
        await store.commit(ALICE, record(message(name, "hi")))


async def say_without(
    server: RedisServer, redis: RedisConnection, store: JournaledStore, *names: str
) -> None:
    """Have writes wait while Redis is away, and return when it is back."""
    server.kill()
    await say(store, *names)
    server.start()
    await answers(redis)


def names(switch: Switch) -> list[str]:
    return [name for _, name in switch.commits]


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == level]


class Forgetful(DiskJournal):
    """Ends before it knows of entries that are done, as a process that is killed does."""

    async def done(self, entries: Sequence[Entry]) -> None:
        raise StoreUnavailable("killed")


async def test_what_waits_on_disk_goes_to_redis_when_that_is_back(
    switch: Switch,
    shared: RedisJournal,
    disk: DiskJournal,
    redis: RedisConnection,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "memgpt_proxy.stores.backlog")
    telemetry = Telemetry()
    async with opened(switch, [shared, disk], telemetry) as store:
        switch.here = False
        await say(store, "m0")
        await say_without(redis_server, redis, store, "m1", "m2")
        await say(store, "m3")  # behind those before
        assert (await shared.waiting(), await disk.waiting()) == (1, 3)
        assert not await store.come_back()
        assert waiting(telemetry) == {"redis": 4, "disk": 0}
        await say(store, "m4")
        assert (await shared.waiting(), await disk.waiting()) == (5, 0)
        switch.here = True
        assert await store.come_back()
        assert names(switch) == ["m0", "m1", "m2", "m3", "m4"]
    [moved] = [each for each in told(caplog, logging.INFO) if "journal now" in each]
    assert moved == "3 writes that waited in the disk journal wait in the redis journal now"
    assert told(caplog, logging.ERROR) == []


async def test_what_waits_on_disk_goes_to_redis_at_the_latest_when_it_is_closed(
    switch: Switch,
    shared: RedisJournal,
    redis: RedisConnection,
    redis_server: RedisServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The disk of a pod goes with it: another replica stores what was said."""
    mine = DiskJournal(tmp_path / "pod" / "journal.db", BOUND)
    async with opened(switch, [shared, mine]) as store:
        switch.here = False
        await say_without(redis_server, redis, store, "m0", "m1")
    assert told(caplog, logging.ERROR) == []
    switch.here = True
    other = DiskJournal(tmp_path / "another pod" / "journal.db", BOUND)
    async with opened(switch, [RedisJournal(redis, BOUND), other]) as store:
        assert await store.come_back()
        assert await store.counts(ALICE) == Counts(2, 0)
    assert names(switch) == ["m0", "m1"]


async def test_it_goes_there_too_while_another_replica_drains(
    switch: Switch,
    shared: RedisJournal,
    redis: RedisConnection,
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    draining = RedisJournal(redis, BOUND)
    path = tmp_path / "journal.db"
    async with opened(switch, [shared, DiskJournal(path, BOUND)]) as store:
        switch.here = False
        await say(store, "m0")
        await say_without(redis_server, redis, store, "m1")
        switch.here = True
        assert await draining.lead()
    later = DiskJournal(path, BOUND)
    await later.open()
    assert (await draining.waiting(), await later.waiting()) == (2, 0)
    await later.close()


async def test_many_go_in_order_while_others_are_written(
    switch: Switch,
    shared: RedisJournal,
    disk: DiskJournal,
    redis: RedisConnection,
    redis_server: RedisServer,
) -> None:
    async with opened(switch, [shared, disk]) as store:
        switch.here = False
        before = [f"m{number}" for number in range(300)]
        await say_without(redis_server, redis, store, *before)
        await store.insert_passages(BOB, [passage("p", "x" * 2**19)])
        looking = asyncio.get_running_loop().create_task(store.come_back())
        meanwhile: list[str] = []
        while not looking.done():
            meanwhile.append(f"n{len(meanwhile)}")
            await say(store, meanwhile[-1])
        assert await disk.waiting() == 0
        switch.here = True
        assert await store.come_back()
        assert names(switch) == [*before, *meanwhile]
        assert await store.counts(BOB) == Counts(0, 1)


async def test_a_process_that_dies_in_between_stores_nothing_twice_and_all_in_order(
    switch: Switch,
    shared: RedisJournal,
    embedded: SqliteStore,
    redis: RedisConnection,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("memgpt_proxy.stores.journaled.HANDED_SECONDS", 0.0)
    turn = TurnId("t")
    path = tmp_path / "journal.db"
    async with opened(switch, [shared, Forgetful(path, BOUND)]) as store:
        switch.here = False
        await say_without(redis_server, redis, store, "m0")
        await store.insert_passages(ALICE, [passage("p", "text", turn=turn)])
        await store.hide_passages(ALICE, [turn])
        await store.show_passages(ALICE, [turn])
        assert not await store.come_back()
    async with opened(switch, [shared, DiskJournal(path, BOUND)]) as store:
        await say(store, "m1")
        assert not await store.come_back()
        data = [entry.data for entry in await shared.oldest(1000)]
        assert len(data) > 5, "some of them wait more than once"
        assert data[-2] == encode(Shown((turn,), hidden=False)), "as the last of those before"
        switch.here = True
        assert await store.come_back()
    assert await embedded.counts(ALICE) == Counts(2, 1)
    assert names(switch)[-1] == "m1"


async def test_what_waits_from_before_is_ahead_of_what_is_said_while_the_store_is_away(
    switch: Switch, shared: RedisJournal, redis: RedisConnection, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    async with opened(switch, [DiskJournal(path, BOUND)]) as store:
        switch.here = False
        await say(store, "m0")
    async with opened(switch, [shared, DiskJournal(path, BOUND)]) as store:
        await say(store, "m1")
        switch.here = True
        assert await store.come_back()
    assert names(switch) == ["m0", "m1"]


async def test_it_stays_on_disk_where_redis_would_lose_it(
    switch: Switch, disk: DiskJournal, redis_binary: str, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "redis", "--appendonly", "no") as server:
        connection = connect(server.url)
        shared = RedisJournal(connection, BOUND)
        async with opened(switch, [shared, disk]) as store:
            switch.here = False
            await say_without(server, connection, store, "m0")
            assert not await store.come_back()
            assert (await shared.waiting(), await disk.waiting()) == (0, 1)
            switch.here = True
        assert names(switch) == ["m0"]
        await connection.close()


async def test_it_stays_on_disk_where_redis_is_full(
    switch: Switch, disk: DiskJournal, redis: RedisConnection, redis_server: RedisServer
) -> None:
    shared = RedisJournal(redis, 2000)
    async with opened(switch, [shared, disk]) as store:
        switch.here = False
        await say_without(redis_server, redis, store, *(f"m{number}" for number in range(20)))
        assert not await store.come_back()
        assert (await shared.waiting(), await disk.waiting()) == (0, 20)
        switch.here = True
        assert await store.come_back()
    assert names(switch) == [f"m{number}" for number in range(20)]


async def test_what_stays_on_disk_is_told_when_it_is_closed(
    switch: Switch, disk: DiskJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(switch, [disk]) as store:
        switch.here = False
        await say(store, "m0", "m1")
    [left] = told(caplog, logging.ERROR)
    assert left.startswith(f"2 writes still wait in {tmp_path / 'journal.db'}: keep that file")
