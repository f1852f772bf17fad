"""Live events, both families: who hears what."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from memgpt_proxy.stores.events import (
    ERASED,
    MOST_OF_A_NAMESPACE,
    MOST_WAITING,
    Event,
    Events,
    LocalEvents,
    Subscription,
    TooManySubscribers,
)
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.redis import RedisConnection, circuit, connect
from memgpt_proxy.stores.redis import events as redis_events
from memgpt_proxy.stores.redis.events import RedisEvents
from memgpt_proxy.stores.storable import owner_of
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

ALICE, BOB = Namespace("alice"), Namespace("bob")
DEADLINE = 10.0


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisConnection]:
    connection = connect(redis_server.url)
    yield connection
    await connection.close()


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
async def events(request: pytest.FixtureRequest) -> AsyncIterator[Events]:
    if request.param == "local":
        yield LocalEvents()
        return
    connection = connect(request.getfixturevalue("redis_server").url)
    made = RedisEvents(connection)
    await made.open()
    yield made
    await made.close()
    await connection.close()


def said(word: str) -> Event:
    return Event("said", {"word": word})


async def heard(subscription: AsyncIterator[Event], count: int) -> list[object]:
    async with asyncio.timeout(DEADLINE):
        events = [await anext(subscription) for _ in range(count)]
    return [event.content.get("word", event.content.get("count")) for event in events]


async def test_a_subscriber_hears_what_happens_from_then_on(events: Events) -> None:
    events.publish(ALICE, said("before"))
    async with events.subscribe(ALICE) as subscription:
        events.publish(ALICE, said("one"))
        events.publish(ALICE, said("two"))
        assert await heard(subscription, 2) == ["one", "two"]


async def test_it_is_wanted_while_somebody_listens(events: Events) -> None:
    assert not events.wanted(ALICE)
    async with events.subscribe(ALICE), events.subscribe(ALICE):
        assert events.wanted(ALICE)
        assert not events.wanted(BOB)
    assert not events.wanted(ALICE)


async def test_nobody_hears_what_happens_in_another_namespace(events: Events) -> None:
    async with events.subscribe(ALICE) as alice, events.subscribe(BOB) as bob:
        events.publish(BOB, said("to bob"))
        events.publish(ALICE, said("to alice"))
        assert await heard(alice, 1) == ["to alice"]
        assert await heard(bob, 1) == ["to bob"]


async def test_a_slow_subscriber_misses_the_oldest_and_is_told(events: Events) -> None:
    async with events.subscribe(ALICE) as slow:
        for n in range(MOST_WAITING + 3):
            events.publish(ALICE, said(str(n)))
        assert await heard(slow, 3) == [3, "3", "4"]


async def test_a_subscriber_that_leaves_frees_its_place(events: Events) -> None:
    for _ in range(3):
        async with AsyncExitStack() as stack:
            for _ in range(MOST_OF_A_NAMESPACE):
                await stack.enter_async_context(events.subscribe(ALICE))
            with pytest.raises(TooManySubscribers):
                await stack.enter_async_context(events.subscribe(ALICE))
            await stack.enter_async_context(events.subscribe(BOB))
    assert not events.wanted(ALICE)


# -- several processes


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process has said, of which no event tells."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def listening(events: RedisEvents) -> int:
    """How many other processes want what happens to Alice, as far as this one knows."""
    return len(events._elsewhere.get(owner_of(ALICE), ()))


@pytest.mark.redis
class TestAcrossProcesses:
    async def test_it_is_heard_elsewhere(self, redis_server: RedisServer) -> None:
        async with replicas(redis_server.url, 3) as (here, there, third):
            assert not here.wanted(ALICE)
            async with there.subscribe(ALICE) as one, third.subscribe(ALICE) as other:
                await until(lambda: listening(here) == 2 and listening(there) == 1)
                assert not here.wanted(BOB)
                here.publish(BOB, said("to bob"))
                here.publish(ALICE, said("one"))
                there.publish(ALICE, said("two"))
                assert sorted(map(str, await heard(one, 2))) == ["one", "two"]
                assert sorted(map(str, await heard(other, 2))) == ["one", "two"]

    async def test_events_of_one_process_keep_their_order(self, redis_server: RedisServer) -> None:
        async with replicas(redis_server.url, 2) as (here, there), there.subscribe(ALICE) as one:
            await until(lambda: here.wanted(ALICE))
            for n in range(200):
                here.publish(ALICE, said(str(n)))
                if n % 50 == 0:
                    await asyncio.sleep(0)
            assert await heard(one, 200) == [str(n) for n in range(200)]

    async def test_when_nobody_listens_any_more_nothing_is_wanted(
        self, redis_server: RedisServer
    ) -> None:
        async with replicas(redis_server.url, 2, lease=0.3) as (here, there):
            async with there.subscribe(ALICE):
                await until(lambda: here.wanted(ALICE))
            await until(lambda: not here.wanted(ALICE))

    async def test_redis_away_and_back(
        self, tmp_path: Path, redis_binary: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit, "FIRST_PAUSE", 0.0)
        monkeypatch.setattr(redis_events, "RETRY_SECONDS", 0.05)
        server = RedisServer(tmp_path, "--appendonly", "no").start()
        async with (
            replicas(server.url, 2, lease=0.6) as (here, there),
            there.subscribe(ALICE) as one,
            here.subscribe(ALICE) as own,
        ):
            await until(lambda: len(here._elsewhere) == 1)
            server.kill()
            here.publish(ALICE, said("lost elsewhere"))
            assert await heard(own, 1) == ["lost elsewhere"]
            await until(lambda: not here._elsewhere)
            server.start()
            await until(lambda: len(here._elsewhere) == 1)
            here.publish(ALICE, said("back"))
            words = await heard(one, 1)
            assert words == ["back"]
        server.stop()

    async def test_a_connection_that_hangs_is_made_anew(
        self, tmp_path: Path, redis_binary: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuit, "FIRST_PAUSE", 0.0)
        monkeypatch.setattr(redis_events, "RETRY_SECONDS", 0.05)
        monkeypatch.setattr(redis_events, "SILENCE_SECONDS", 0.2)
        server = RedisServer(tmp_path, "--appendonly", "no").start()
        async with (
            replicas(server.url, 2, lease=0.6) as (here, there),
            there.subscribe(ALICE) as one,
        ):
            await until(lambda: here.wanted(ALICE))
            os.kill(server.pid, signal.SIGSTOP)
            await until(lambda: not here.wanted(ALICE))
            os.kill(server.pid, signal.SIGCONT)
            await until(lambda: here.wanted(ALICE))
            here.publish(ALICE, said("back"))
            assert await heard(one, 1) == ["back"]
        server.stop()

    async def test_what_is_no_message_of_ours_is_ignored(
        self, redis: RedisConnection, redis_server: RedisServer
    ) -> None:
        async with replicas(redis_server.url, 2) as (here, there):
            for nonsense in (b"", b"[1]", b"{}", b'{"inbox": 1}', b"\xff"):
                await redis.execute("PUBLISH", redis.key("events", "wanted"), nonsense)
                await redis.execute("PUBLISH", there._inbox, nonsense)
            async with there.subscribe(ALICE) as one:
                await until(lambda: here.wanted(ALICE))
                here.publish(ALICE, said("still there"))
                assert await heard(one, 1) == ["still there"]


def replicas(url: str, count: int, lease: float = 15.0):
    return _Replicas(url, count, lease)


class _Replicas:
    """Events of so many processes with one Redis, each on connections of its own, all reading."""

    def __init__(self, url: str, count: int, lease: float) -> None:
        self._redis = [connect(url) for _ in range(count)]
        self._events = [RedisEvents(redis, lease=lease) for redis in self._redis]

    async def __aenter__(self) -> list[RedisEvents]:
        for events in self._events:
            await events.open()
        async with asyncio.timeout(DEADLINE):
            while 0 in await self._readers():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self._events

    async def _readers(self) -> list[int]:
        inboxes = [events._inbox for events in self._events]
        told = await self._redis[0].execute("PUBSUB", "NUMSUB", *inboxes)
        counts: list[int] = told[1::2]
        return counts

    async def __aexit__(self, *_: object) -> None:
        for events in self._events:
            await events.close()
        for redis in self._redis:
            await redis.close()


async def test_what_waits_before_an_erasure_is_not_told_behind_it() -> None:
    subscription = Subscription()
    for number in range(MOST_WAITING + 3):
        subscription.put(said(str(number)))
    subscription.put(Event(ERASED, {}))
    subscription.put(said("after"))
    assert [(await anext(subscription)).kind for _ in range(2)] == [ERASED, "said"]
