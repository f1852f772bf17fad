"""What every journal does, and what is each one's own: a kill, a lease, a server that is away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from memgpt_proxy.stores.changes import Committed, Inserted, Shown
from memgpt_proxy.stores.codec import decode, encode
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.journal import Entry, Journal, JournalFull, Waiting
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable
from memgpt_proxy.stores.records import Namespace, TurnId, TurnRecord
from memgpt_proxy.stores.redis import RedisConnection, RedisUnavailable, connect
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.sqlite.connection import connect_file
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import ALICE, BOB, message, passage
from tests.support.process import free_port
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

BOUND = 100_000
ODD = Namespace("\udc00\0")

NewJournal = Callable[[], Journal]
"""Makes a journal on what earlier ones have kept, as a new process does."""


def said(name: str, text: str = "hi") -> Committed:
    return Committed(TurnRecord(nodes=[message(name, text)], queues=[]))


async def kept(journal: Journal) -> list[tuple[Namespace, Waiting]]:
    entries = await journal.oldest(1000)
    return [(entry.namespace, decode(entry.data)) for entry in entries]  # type: ignore[misc]


async def answers(redis: RedisConnection) -> None:
    """Wait until a server that was away is asked again."""
    async with asyncio.timeout(10):
        while not await _answers(redis):  # noqa: ASYNC110 - it is no part of this process
            await asyncio.sleep(0.05)


async def _answers(redis: RedisConnection) -> bool:
    try:
        await redis.execute("PING")
    except RedisUnavailable:
        return False
    return True


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisConnection:
    return connect(redis_server.url)


@pytest.fixture(params=["disk", pytest.param("redis", marks=pytest.mark.redis)])
async def new_journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NewJournal]:
    if request.param == "disk":
        yield lambda: DiskJournal(tmp_path / "data" / "journal.db", BOUND)
        return
    redis = request.getfixturevalue("redis")
    yield lambda: RedisJournal(redis, BOUND)
    await redis.close()


@pytest.fixture
async def journal(new_journal: NewJournal) -> AsyncIterator[Journal]:
    opened = new_journal()
    await opened.open()
    yield opened
    await opened.close()


class TestEveryJournal:
    async def test_nothing_waits_at_first(self, journal: Journal) -> None:
        assert await journal.waiting() == 0
        assert await journal.oldest(10) == []

    async def test_writes_come_in_the_order_they_were_kept(self, journal: Journal) -> None:
        writes: list[tuple[Namespace, Waiting]] = [
            (ALICE, said("a")),
            (BOB, Inserted([passage("p", "text \0")])),
            (ODD, Shown([TurnId("t")], hidden=True)),
            (ALICE, said("b")),
        ]
        for namespace, change in writes:
            await journal.append(namespace, change)
        stored = [(namespace, decode(encode(change))) for namespace, change in writes]
        assert await kept(journal) == stored
        assert await journal.waiting() == 4
        assert len(await journal.oldest(3)) == 3

    async def test_what_is_done_waits_no_longer(self, journal: Journal) -> None:
        for name in "abc":
            await journal.append(ALICE, said(name))
        first, second, _ = await journal.oldest(3)
        await journal.done([second])
        await journal.done([second])
        await journal.put_aside(first)
        await journal.put_aside(first)
        assert await journal.waiting() == 1
        assert [change for _, change in await kept(journal)] == [said("c")]

    async def test_what_an_owner_has_in_it_is_forgotten(self, journal: Journal) -> None:
        for at in range(300):
            for namespace in (ALICE, BOB):
                await journal.append(namespace, Shown([TurnId(f"t{at}")], hidden=True))
        first, second = await journal.oldest(2)
        await journal.put_aside(first)
        await journal.put_aside(second)
        await journal.append(ODD, said("odd"))
        await journal.forget(owner_of(ALICE))
        assert {namespace for namespace, _ in await kept(journal)} == {BOB, ODD}
        assert await journal.waiting() == 300  # and ODD's, less the one that is put aside
        await journal.forget(owner_of(ODD))
        await journal.forget(owner_of(BOB))
        assert await journal.waiting() == 0
        await journal.append(ALICE, said("large", "x" * (BOUND // 2 - 1000)))  # it all fits in

    async def test_no_more_waits_than_may(self, journal: Journal) -> None:
        large = said("large", "x" * (BOUND // 3))  # twice in it
        await journal.append(ALICE, large)
        with pytest.raises(JournalFull):
            await journal.append(ALICE, large)
        await journal.append(ALICE, said("small"))
        assert await journal.waiting() == 2
        await journal.done(await journal.oldest(1))
        await journal.append(ALICE, large)
        assert [change for _, change in await kept(journal)] == [said("small"), large]

    async def test_what_is_put_aside_takes_no_room(self, journal: Journal) -> None:
        large = said("large", "x" * (BOUND // 3))
        await journal.append(ALICE, large)
        for entry in await journal.oldest(1):
            await journal.put_aside(entry)
        await journal.append(ALICE, large)

    async def test_some_of_what_is_put_aside_is_forgotten(self, journal: Journal) -> None:
        assert await journal.aside() == []
        for at in range(300):
            await journal.append(BOB if at % 2 else ALICE, Shown([TurnId(f"t{at}")], hidden=True))
        for entry in await journal.oldest(300):
            await journal.put_aside(entry)
        aside = await journal.aside()
        assert [decode(entry.data) for entry in aside] == [
            Shown([TurnId(f"t{at}")], hidden=True) for at in range(300)
        ]
        await journal.forget_aside([entry for entry in aside if entry.namespace == ALICE])
        assert [entry for entry in aside if entry.namespace == BOB] == await journal.aside()

    async def test_the_bound_holds_for_many_at_once(self, journal: Journal) -> None:
        size = len(encode(said("m000")))
        outcomes = await asyncio.gather(
            *(journal.append(ALICE, said(f"m{n:03}")) for n in range(300)), return_exceptions=True
        )
        assert outcomes.count(None) == min(300, BOUND // size) == await journal.waiting()
        assert all(outcome is None or isinstance(outcome, JournalFull) for outcome in outcomes)

    async def test_entries_of_another_are_kept_all_or_none(self, journal: Journal) -> None:
        await journal.append(ALICE, said("a"))
        others = [Entry("7", ODD, encode(said("b"))), Entry("8", ODD, b"of a later release")]
        await journal.take_over(others)
        assert [(each.namespace, each.data) for each in await journal.oldest(9)] == [
            (ALICE, encode(said("a"))),
            (ODD, encode(said("b"))),
            (ODD, b"of a later release"),
        ]
        with pytest.raises(JournalFull):
            await journal.take_over([*others, Entry("9", BOB, b"x" * BOUND)])
        assert await journal.waiting() == 3
        assert await journal.keeps()

    async def test_another_process_finds_what_was_kept(
        self, journal: Journal, new_journal: NewJournal
    ) -> None:
        for name in "abc":
            await journal.append(ALICE, said(name))
        before = await journal.oldest(3)
        await journal.done(before[:1])
        await journal.close()
        later = new_journal()
        await later.open()
        assert await later.oldest(3) == before[1:]
        await later.append(ALICE, said("d"))
        assert [change for _, change in await kept(later)] == [said("b"), said("c"), said("d")]
        await later.close()

    async def test_one_process_leads_by_itself(self, journal: Journal) -> None:
        assert await journal.lead()
        assert await journal.lead()


class TestDisk:
    async def test_acknowledged_writes_survive_a_kill(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.db"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.stores.keeping_process",
            str(path),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            lines = [await process.stdout.readline() for _ in range(300)]
            process.kill()
            lines += (await process.stdout.read()).splitlines(keepends=True)
            await process.wait()
        acknowledged = [line.decode().strip() for line in lines if line.endswith(b"\n")]
        journal = DiskJournal(path, 2**30)
        await journal.open()
        entries = await journal.oldest(10**6)
        assert await journal.waiting() == len(entries)
        for writer in map(str, range(8)):
            changes = [decode(each.data) for each in entries if each.namespace == writer]
            names = [
                change.record.nodes[0].id for change in changes if isinstance(change, Committed)
            ]
            assert names == [f"{writer}-{number}" for number in range(len(names))]
            mine = [name for name in acknowledged if name.startswith(f"{writer}-")]
            assert mine == names[: len(mine)]
            assert len(names) <= len(mine) + 1  # one may have been kept and not told
        await journal.close()

    async def test_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "data" / "journal.db"
        journal = DiskJournal(path, BOUND)
        await journal.open()
        await journal.append(ALICE, said("a"))
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
        await journal.close()

    async def test_a_file_that_cannot_be_used_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "journal.db").write_bytes(b"no database, but " * 100)
        with pytest.raises(StoreUnavailable):
            await DiskJournal(tmp_path / "journal.db", BOUND).open()

    @pytest.mark.slow
    async def test_a_lock_that_stays_is_unavailable(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.db"
        journal = DiskJournal(path, BOUND)
        await journal.open()
        with closing(connect_file(path, "full")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await journal.append(ALICE, said("a"))
        await journal.append(ALICE, said("b"))
        assert await journal.waiting() == 1
        await journal.close()

    async def test_what_is_closed_takes_nothing(self, tmp_path: Path) -> None:
        journal = DiskJournal(tmp_path / "journal.db", BOUND)
        with pytest.raises(StoreError):
            await journal.append(ALICE, said("a"))


@pytest.mark.redis
class TestRedis:
    async def test_kept_writes_survive_the_servers_kill(
        self, redis: RedisConnection, redis_server: RedisServer
    ) -> None:
        journal = RedisJournal(redis, BOUND)
        for number in range(100):
            await journal.append(ALICE, said(f"m{number}"))
        redis_server.kill()
        with pytest.raises(StoreUnavailable):
            await journal.append(ALICE, said("lost"))
        redis_server.start()
        await answers(redis)
        assert [change for _, change in await kept(journal)] == [
            said(f"m{number}") for number in range(100)
        ]
        await redis.close()

    async def test_a_server_that_is_away_is_unavailable(self) -> None:
        redis = connect(f"redis://127.0.0.1:{free_port()}")
        journal = RedisJournal(redis, BOUND)
        await journal.open()
        for call in (journal.waiting, journal.lead, lambda: journal.oldest(1)):
            with pytest.raises(StoreUnavailable):
                await call()
        await journal.close()
        await redis.close()

    async def test_one_of_two_leads(self, redis: RedisConnection) -> None:
        one, other = RedisJournal(redis, BOUND), RedisJournal(redis, BOUND)
        assert await one.lead()
        assert not await other.lead()
        await one.close()
        assert await other.lead()
        assert not await one.lead()
        await redis.close()

    async def test_a_silent_leader_is_followed(self, redis: RedisConnection) -> None:
        one = RedisJournal(redis, BOUND, lease=0.05)
        other = RedisJournal(redis, BOUND)
        assert await one.lead()
        async with asyncio.timeout(10):
            while not await other.lead():
                pass
        assert not await one.lead()
        await redis.close()

    async def test_what_waits_is_drained_from_a_server_that_is_full(
        self, redis: RedisConnection, redis_server: RedisServer
    ) -> None:
        """Nothing else may make room: under noeviction it would wait for ever."""
        journal = RedisJournal(redis, BOUND)
        for name in "abc":
            await journal.append(ALICE, said(name))
        redis_server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            assert await journal.lead()
            [first, *others] = await journal.oldest(3)
            await journal.put_aside(first)
            await journal.done(others)
            assert await journal.waiting() == 0
        finally:
            redis_server.ask("CONFIG", "SET", "maxmemory", "0")
            await redis.close()

    async def test_all_keys_are_in_one_slot_and_bear_the_prefix(
        self, redis_server: RedisServer
    ) -> None:
        redis = connect(redis_server.url, prefix="ours")
        journal = RedisJournal(redis, BOUND)
        await journal.append(ALICE, said("a"))
        await journal.append(ALICE, said("b"))
        assert await journal.lead()
        for entry in await journal.oldest(1):
            await journal.put_aside(entry)
        keys = await redis.execute("KEYS", "ours:*:{journal}")
        assert len(keys) == await redis.execute("DBSIZE") == 4
        await redis.close()

    async def test_two_prefixes_are_two_journals(
        self, redis: RedisConnection, redis_server: RedisServer
    ) -> None:
        others = connect(redis_server.url, prefix="other")
        one, other = RedisJournal(redis, BOUND), RedisJournal(others, BOUND)
        await one.append(ALICE, said("a"))
        assert await other.waiting() == 0
        assert await one.lead()
        assert await other.lead()
        await others.close()
        await redis.close()


@pytest.mark.redis
async def test_a_redis_that_may_lose_what_waits_is_told_of_at_the_start(
    redis: RedisConnection, redis_binary: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = "--appendonly no --maxmemory 100mb --maxmemory-policy allkeys-lru".split()
    with RedisServer(tmp_path, *options) as server:
        connection = connect(server.url)
        await RedisJournal(connection, BOUND).open()
        assert "appendonly is no" in caplog.text
        assert "allkeys-lru may evict" in caplog.text
        await connection.close()
    caplog.clear()
    connection = connect(server.url)
    await RedisJournal(connection, BOUND).open()  # it is away: nobody can tell
    await connection.close()
    await RedisJournal(redis, BOUND).open()
    await redis.close()
    told = [each for each in caplog.records if each.name == "memgpt_proxy.stores.redis.journal"]
    assert told == []
