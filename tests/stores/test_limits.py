"""Limits, both families: what they let in, by an independent model of what may come."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memgpt_proxy.stores.limits import Limiter, LocalLimiter, Rates, Standing
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.redis import RedisConnection, circuit, connect
from memgpt_proxy.stores.redis.limits import RedisLimiter
from memgpt_proxy.stores.storable import owner_of
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

ALICE, BOB = Namespace("alice"), Namespace("bob")


@dataclass(slots=True)
class Clock:
    """Stands still until it is put on."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Family:
    """A way to make limiters, and to let time pass for one key of them."""

    make: Callable[[Rates], Limiter]
    passes: Callable[[Namespace, float], Awaitable[None]]
    slack: float
    """Seconds that may have passed by themselves in a test."""


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisConnection]:
    connection = connect(redis_server.url)
    yield connection
    await connection.close()


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def family(request: pytest.FixtureRequest) -> Family:
    if request.param == "redis":
        return in_redis(request.getfixturevalue("redis"))
    clock = Clock()

    async def passes(_: Namespace, seconds: float) -> None:
        clock.now += seconds

    return Family(lambda rates: LocalLimiter(rates, clock), passes, 0.0)


def in_redis(redis: RedisConnection) -> Family:
    async def passes(key: Namespace, seconds: float) -> None:
        """The server's clock cannot be put on; what it said last can be put back."""
        name = redis.key("limits", owner_of(key))
        if await redis.execute("HEXISTS", name, "at"):
            await redis.execute("HINCRBY", name, "at", round(-seconds * 1e6))

    return Family(lambda rates: RedisLimiter(redis, rates), passes, 2.0)


async def admitted(limiter: Limiter, key: Namespace, times: int) -> list[bool]:
    return [(await limiter.admit(key)).admitted for _ in range(times)]


async def test_a_minutes_worth_may_come_at_once_and_no_more(family: Family) -> None:
    limiter = family.make(Rates(requests=7))
    assert await admitted(limiter, ALICE, 9) == [True] * 7 + [False] * 2


async def test_keys_are_limited_each_by_itself(family: Family) -> None:
    limiter = family.make(Rates(requests=1))
    assert await admitted(limiter, ALICE, 2) == [True, False]
    assert await admitted(limiter, BOB, 2) == [True, False]


async def test_a_key_may_have_rates_of_its_own(family: Family) -> None:
    limiter = family.make(Rates(requests=1))
    own = Rates(requests=3, tokens=100)
    asked = [(await limiter.admit(ALICE, own)).admitted for _ in range(4)]
    assert asked == [True] * 3 + [False]
    assert await admitted(limiter, BOB, 2) == [True, False]
    await family.passes(ALICE, 60.0)
    await limiter.spend(ALICE, 150, own)
    refused = await limiter.admit(ALICE, own)
    assert not refused.admitted
    assert refused.tokens is not None
    assert (refused.tokens.limit, refused.tokens.remaining) == (100, 0)


async def test_rates_of_a_key_that_change_hold_at_once(family: Family) -> None:
    limiter = family.make(Rates(requests=1))
    assert await admitted(limiter, ALICE, 2) == [True, False]
    more = [(await limiter.admit(ALICE, Rates(requests=3))).admitted for _ in range(3)]
    assert more == [True, True, False]


async def test_a_key_whose_limit_is_set_while_it_is_used_begins_full(family: Family) -> None:
    """Else all that it has ever used would have to be waited for."""
    limiter = family.make(Rates())
    for own in (Rates(tokens=1000), Rates(requests=5)):
        for _ in range(5):
            await limiter.admit(ALICE, own)
            await limiter.spend(ALICE, 100, own)
    both = Rates(requests=5, tokens=1000)
    assert not (await limiter.admit(ALICE, both)).admitted, "requests were limited before"
    await limiter.admit(BOB, Rates(tokens=1000))
    for _ in range(9):
        await limiter.admit(BOB, Rates(tokens=1000))
    assert (await limiter.admit(BOB, Rates(requests=5))).admitted


async def test_it_refills_steadily(family: Family) -> None:
    limiter = family.make(Rates(requests=6))
    assert all(await admitted(limiter, ALICE, 6))
    refused = await limiter.admit(ALICE)
    assert refused.requests is not None
    assert refused.requests.remaining == 0
    assert refused.requests.wait == pytest.approx(10.0, abs=family.slack)
    assert refused.requests.reset == pytest.approx(60.0, abs=family.slack)
    await family.passes(ALICE, 5.0)
    assert await admitted(limiter, ALICE, 1) == [False]
    await family.passes(ALICE, 5.0)
    assert await admitted(limiter, ALICE, 2) == [True, False], "refusals have cost nothing"
    await family.passes(ALICE, 3600.0)
    assert await admitted(limiter, ALICE, 7) == [True] * 6 + [False], "no more than is full"


async def test_tokens_are_counted_after_the_fact_and_an_overdrawn_key_waits(
    family: Family,
) -> None:
    limiter = family.make(Rates(tokens=1000))
    first = await limiter.admit(ALICE)
    assert first.admitted
    assert first.requests is None
    assert first.tokens is not None
    assert (first.tokens.limit, first.tokens.remaining) == (1000, 1000)
    await limiter.spend(ALICE, 600)
    second = await limiter.admit(ALICE)
    assert second.admitted
    assert second.tokens is not None
    assert second.tokens.remaining == pytest.approx(400, abs=40)
    await limiter.spend(ALICE, 900)
    third = await limiter.admit(ALICE)
    assert not third.admitted
    assert third.tokens is not None
    assert third.tokens.remaining == 0
    assert third.tokens.wait == pytest.approx(501 * 60 / 1000, abs=family.slack)
    await family.passes(ALICE, 35.0)
    assert (await limiter.admit(ALICE)).admitted


async def test_a_request_that_tokens_refuse_is_not_counted(family: Family) -> None:
    limiter = family.make(Rates(requests=10, tokens=100))
    assert (await limiter.admit(ALICE)).admitted
    await limiter.spend(ALICE, 150)
    standing = await limiter.admit(ALICE)
    assert not standing.admitted
    assert standing.requests is not None
    assert standing.requests.used == pytest.approx(1, abs=0.5)


# -- against a model

MOMENTS = st.integers(min_value=0, max_value=90_000)
STEP = st.tuples(MOMENTS, st.sampled_from(["admit", "spend"]), st.integers(0, 300))


@dataclass(slots=True)
class Arrivals:
    """What a key used and when, in exact numbers.

    A bucket that refills steadily has, of what came from any time on, more to refill than what
    was refilled since: what is missing is the most of these over all times.
    """

    limit: int
    came: list[tuple[Fraction, int]] = field(default_factory=list)

    def used(self, now: Fraction) -> Fraction:
        since = {at for at, _ in self.came}
        rate = Fraction(self.limit, 60)
        missing = (sum(n for at, n in self.came if at >= s) - rate * (now - s) for s in since)
        return max(Fraction(0), *missing) if since else Fraction(0)


@dataclass(slots=True)
class Model:
    requests: Arrivals
    tokens: Arrivals
    now: Fraction = Fraction(0)

    def room(self) -> Fraction:
        """What is left in the bucket that has least, beyond the one that a request needs."""
        buckets = (self.requests, self.tokens)
        return min(bucket.limit - bucket.used(self.now) - 1 for bucket in buckets)


@given(
    requests=st.integers(1, 20),
    tokens=st.integers(1, 500),
    steps=st.lists(STEP, max_size=40),
)
@example(requests=7, tokens=500, steps=[(0, "admit", 0)] * 7 + [(8572, "admit", 0)] * 8)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
async def test_it_lets_in_what_the_model_does(
    family: Family, requests: int, tokens: int, steps: list[tuple[int, str, int]]
) -> None:
    key = Namespace(uuid4().hex)
    limiter = family.make(Rates(requests, tokens))
    model = Model(Arrivals(requests), Arrivals(tokens))
    slack = family.slack * max(requests, tokens) / 60
    for milliseconds, what, count in steps:
        await family.passes(key, milliseconds / 1000)
        model.now += Fraction(milliseconds, 1000)
        if what == "spend":
            await limiter.spend(key, count)
            model.tokens.came.append((model.now, count))
            continue
        room = model.room()
        standing = await limiter.admit(key)
        if not -slack <= room < 0:  # else time that passed by itself may have let it in
            assert standing.admitted == (room >= 0)
        if standing.admitted:
            model.requests.came.append((model.now, 1))
        check(standing, model, slack)


def check(standing: Standing, model: Model, slack: float) -> None:
    assert standing.requests is not None
    assert standing.tokens is not None
    expected = float(model.requests.used(model.now))
    assert expected - slack - 1e-6 <= standing.requests.used <= expected + 1e-6
    expected = float(model.tokens.used(model.now))
    assert expected - slack - 1e-6 <= standing.tokens.used <= expected + 1e-6
    for level in (standing.requests, standing.tokens):
        assert 0 <= level.remaining <= level.limit
        assert (level.wait == 0) == (level.remaining >= 1)


# -- in process


async def test_idle_keys_are_forgotten() -> None:
    clock = Clock()
    limiter = LocalLimiter(Rates(requests=60), clock)
    for n in range(10_000):
        clock.now += 0.1
        await limiter.admit(Namespace(f"key-{n}"))
    assert len(limiter) <= 1024


async def test_of_too_many_keys_those_that_have_used_most_are_kept() -> None:
    limiter = LocalLimiter(Rates(requests=10), Clock(), most_keys=100)
    await admitted(limiter, ALICE, 10)
    for n in range(1000):
        await limiter.admit(Namespace(f"key-{n}"))
    assert len(limiter) <= 100
    assert await admitted(limiter, ALICE, 1) == [False]


# -- in Redis


@pytest.mark.redis
async def test_processes_share_one_limit(redis: RedisConnection, redis_server: RedisServer) -> None:
    other = connect(redis_server.url)
    here, there = (RedisLimiter(each, Rates(requests=3)) for each in (redis, other))
    assert await admitted(here, ALICE, 2) == [True, True]
    assert await admitted(there, ALICE, 2) == [True, False]
    assert await admitted(here, ALICE, 1) == [False]
    await other.close()


@pytest.mark.redis
async def test_a_limit_that_is_set_later_begins_full(redis: RedisConnection) -> None:
    before = RedisLimiter(redis, Rates(requests=2))
    assert await admitted(before, ALICE, 1) == [True]
    await before.spend(ALICE, 5000)
    after = RedisLimiter(redis, Rates(requests=2, tokens=1000))
    assert await admitted(after, ALICE, 2) == [True, False], "requests were limited all the time"
    await redis.execute("FLUSHALL")
    before = RedisLimiter(redis, Rates(tokens=1000))
    assert await admitted(before, ALICE, 3) == [True] * 3
    await before.spend(ALICE, 500)
    assert await admitted(after, ALICE, 3) == [True, True, False]


@pytest.mark.redis
async def test_a_key_with_full_buckets_is_not_in_redis(redis: RedisConnection) -> None:
    limiter = RedisLimiter(redis, Rates(requests=6, tokens=600))
    await limiter.admit(ALICE)
    (name,) = await redis.execute("KEYS", "*")
    assert ALICE not in name.decode(), "a store does not know the namespace itself"
    assert 9_000 < await redis.execute("PTTL", name) <= 10_001
    await limiter.spend(ALICE, 6000)
    assert 590_000 < await redis.execute("PTTL", name) <= 600_001


@pytest.mark.redis
async def test_without_redis_each_limits_by_itself(
    tmp_path: Path, redis_binary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "FIRST_PAUSE", 0.0)
    server = RedisServer(tmp_path, "--appendonly", "no").start()
    redis = connect(server.url)
    limiter = RedisLimiter(redis, Rates(requests=2))
    assert await admitted(limiter, ALICE, 3) == [True, True, False]
    server.kill()
    assert await admitted(limiter, ALICE, 3) == [True, True, False], "what was used is not known"
    await limiter.spend(ALICE, 5)
    server.start()
    assert await admitted(limiter, ALICE, 3) == [True, True, False], "Redis has forgotten"
    os.kill(server.pid, signal.SIGSTOP)  # it hangs: connections stay open, nothing is answered
    assert await admitted(limiter, BOB, 3) == [True, True, False]
    os.kill(server.pid, signal.SIGCONT)
    server.stop()
    await redis.close()


@pytest.mark.redis
async def test_a_full_redis_is_told_of_once(
    redis: RedisConnection,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It refuses to count a request, and answers that another key has none left."""
    monkeypatch.setattr(circuit, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(circuit, "LONGEST_PAUSE", 0.0)
    limiter = RedisLimiter(redis, Rates(requests=1, tokens=None))
    assert (await limiter.admit(ALICE)).admitted
    redis_server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        for _ in range(5):
            assert not (await limiter.admit(ALICE)).admitted
            await limiter.admit(BOB)
    finally:
        redis_server.ask("CONFIG", "SET", "maxmemory", "0")
    told = [each.getMessage() for each in caplog.records if each.name.endswith("redis.limits")]
    assert len(told) == 1
    assert told[0].startswith("each replica limits by itself: Redis is full")
