"""The change log in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.change_log import NOWHERE, Position
from memgpt_proxy.stores.changes import Change, Committed, Edited, Inserted, Shown, Uncertain
from memgpt_proxy.stores.records import TurnId, TurnRecord, WorkingContext
from memgpt_proxy.stores.redis import RedisConnection, RedisLog, RedisUnavailable, connect
from memgpt_proxy.stores.redis import circuit as circuits
from memgpt_proxy.stores.redis.log import IDLE_SECONDS, MOST_ENTRIES
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import ALICE, BOB, branch, passage
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.redis

CHANGES: list[Change] = [
    Committed(TurnRecord(nodes=branch(["hi", "hello"]), queues=[])),
    Edited(WorkingContext(1, "Name: Chad")),
    Inserted([passage("p", "words")]),
    Shown([TurnId("t")], hidden=True),
    Uncertain(),
]


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisConnection]:
    connection = connect(redis_server.url)
    yield connection
    await connection.close()


@pytest.fixture
def log(redis: RedisConnection) -> RedisLog:
    return RedisLog(redis)


async def append(log: RedisLog, change: Change, upon: Position = NOWHERE) -> None:
    await log.append(ALICE, change, upon=upon, position=NOWHERE)


async def test_what_others_wrote_is_followed_in_order(log: RedisLog) -> None:
    joined = await log.join(ALICE)
    assert await log.follow(ALICE, joined.position) is not None
    for change in CHANGES:
        await append(log, change, joined.position)
    news = await log.follow(ALICE, joined.position)
    assert news is not None
    assert [entry.change for entry in news.entries] == CHANGES
    assert {entry.upon for entry in news.entries} == {joined.position}
    assert news.recent
    assert [entry.at for entry in news.entries][-1] == news.position
    rest = await log.follow(ALICE, news.entries[1].at)
    assert rest is not None
    assert rest.entries == news.entries[2:]
    nothing = await log.follow(ALICE, news.position)
    assert nothing is not None
    assert (nothing.entries, nothing.position, nothing.recent) == ([], news.position, False)


async def test_an_append_tells_what_was_before_it(log: RedisLog) -> None:
    mine = (await log.join(ALICE)).position
    await append(log, CHANGES[1])
    news = await log.append(ALICE, CHANGES[2], upon=mine, position=mine)
    assert news is not None
    assert [entry.change for entry in news.entries] == [CHANGES[1]]
    assert news.recent
    following = await log.follow(ALICE, news.position)
    assert following is not None
    assert following.entries == []
    assert await log.append(ALICE, CHANGES[3], upon=mine, position=NOWHERE) is None


async def test_namespaces_are_apart(log: RedisLog) -> None:
    alices, bobs = await log.join(ALICE), await log.join(BOB)
    await append(log, CHANGES[0])
    news = await log.follow(BOB, bobs.position)
    assert news is not None
    assert news.entries == []
    assert (await log.follow(ALICE, alices.position)) != news


async def test_what_is_trimmed_flushed_or_expired_is_a_gap(
    log: RedisLog, redis: RedisConnection
) -> None:
    key = redis.key("log", owner_of(ALICE))
    for lose in (["XTRIM", key, "MAXLEN", 0], ["FLUSHALL"], ["PEXPIRE", key, 0], ["void"]):
        joined = await log.join(ALICE)
        if lose == ["void"]:
            await log.void()
        else:
            await redis.execute(*lose)
        assert await log.follow(ALICE, joined.position) is None
        await append(log, CHANGES[1])
        assert await log.follow(ALICE, joined.position) is None
        assert await log.append(ALICE, CHANGES[1], upon=NOWHERE, position=joined.position) is None


async def test_a_log_that_is_made_again_has_no_entry_of_before(
    log: RedisLog, redis: RedisConnection
) -> None:
    """Redis names entries by milliseconds, in which much can happen."""
    for _ in range(200):
        joined = await log.join(ALICE)
        await asyncio.gather(redis.execute("FLUSHALL"), append(log, CHANGES[1]))
        news = await log.follow(ALICE, joined.position)
        assert news is None or news.entries
        await redis.execute("FLUSHALL")


async def test_it_is_short_and_expires(log: RedisLog, redis: RedisConnection) -> None:
    joined = await log.join(ALICE)
    for _ in range(MOST_ENTRIES):
        await append(log, CHANGES[1])
    assert await log.follow(ALICE, joined.position) is None
    key = redis.key("log", owner_of(ALICE))
    assert await redis.execute("XLEN", key) == MOST_ENTRIES
    assert IDLE_SECONDS - 60 < await redis.execute("TTL", key) <= IDLE_SECONDS
    await log.join(BOB)
    assert await redis.execute("TTL", redis.key("log", owner_of(BOB))) > 0


async def test_a_large_change_is_told_as_uncertain(log: RedisLog) -> None:
    joined = await log.join(ALICE)
    await append(log, Inserted([passage("p", "x" * (64 << 10))]))
    news = await log.follow(ALICE, joined.position)
    assert news is not None
    assert [entry.change for entry in news.entries] == [Uncertain()]


async def test_an_entry_of_another_release_is_uncertain(
    log: RedisLog, redis: RedisConnection
) -> None:
    joined = await log.join(ALICE)
    for fields in (["told", "otherwise"], ["change", b"\xff"], ["change", '{"new": {}}']):
        await redis.execute("XADD", redis.key("log", owner_of(ALICE)), "*", *fields)
    news = await log.follow(ALICE, joined.position)
    assert news is not None
    assert [entry.change for entry in news.entries] == [Uncertain()] * 3


@pytest.mark.slow
async def test_joining_tells_whether_somebody_wrote_a_moment_ago(
    redis_binary: str, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as server:
        redis = connect(server.url)
        log, other = RedisLog(redis), redis.key("log", owner_of(BOB))
        try:
            assert (await log.join(ALICE)).recent, "the server has just begun"
            async with asyncio.timeout(30):
                while (await redis.execute("INFO", "server"))["uptime_in_seconds"] < 6:
                    await redis.execute("WAIT", 1, 100)
            assert not (await log.join(ALICE)).recent
            assert not (await log.join(BOB)).recent
            await append(log, CHANGES[0])
            assert (await log.join(ALICE)).recent
            await redis.execute("DEL", other)
            assert not (await log.join(BOB)).recent
            await redis.execute("FLUSHALL")
            assert (await log.join(BOB)).recent, "whatever was there is lost"
        finally:
            await redis.close()


async def test_after_a_restart_there_is_a_gap(
    redis_binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may have lost the last entries, which somebody else has followed."""
    monkeypatch.setattr(circuits, "FIRST_PAUSE", 0.0)
    with RedisServer(tmp_path, "--appendfsync", "always") as server:
        redis = connect(server.url)
        log = RedisLog(redis)
        try:
            joined = await log.join(ALICE)
            await append(log, CHANGES[0])
            await asyncio.to_thread(server.kill)
            with pytest.raises(RedisUnavailable):
                await log.follow(ALICE, joined.position)
            await asyncio.to_thread(server.start)
            assert await log.follow(ALICE, joined.position) is None
            assert (await log.join(ALICE)).recent
        finally:
            await redis.close()
