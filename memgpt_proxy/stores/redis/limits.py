"""Limits in Redis: replicas keep a key to its rates together.

One script call a request, by the server's time. A key's buckets are one hash, which expires when
they are full.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from memgpt_proxy.stores.limits import (
    PERIOD,
    TOLERANCE,
    LocalLimiter,
    Rates,
    Standing,
    standing_of,
)
from memgpt_proxy.stores.records import Namespace

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""How long Redis is left alone after it has failed: nobody waits for it again and again."""

_SCRIPT = f"""
local rates = {{tonumber(ARGV[1]), tonumber(ARGV[2])}}
local asked, spent = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'at')
local passed = math.max(0, now - (held[3] or now)) / {PERIOD * 1e6:.0f}
local used, admitted = {{}}, 1
for i = 1, 2 do
    used[i] = math.max(0, (held[i] or 0) - passed * rates[i])
    if rates[i] > 0 and used[i] + asked - rates[i] > {TOLERANCE} then admitted = 0 end
end
if admitted == 1 or asked == 0 then
    used[1] = used[1] + asked
    used[2] = used[2] + spent
    local full = 0
    for i = 1, 2 do
        if rates[i] > 0 then full = math.max(full, used[i] / rates[i]) end
    end
    local requests, tokens = string.format('%.17g', used[1]), string.format('%.17g', used[2])
    redis.call('HSET', KEYS[1], 'requests', requests, 'tokens', tokens,
        'at', string.format('%.0f', math.max(now, held[3] or now)))
    redis.call('PEXPIRE', KEYS[1], math.min(math.ceil(full * {PERIOD * 1e3:.0f}) + 1, 2^52))
end
return {{admitted, string.format('%.17g', used[1]), string.format('%.17g', used[2])}}
"""
"""Refills the buckets of a key, then takes ``asked`` requests and ``spent`` tokens.

A request is let in where one is left in each bucket; what is spent is taken in any case. ``at`` is
in microseconds, and a clock that was set back refills none.
"""


class RedisLimiter:
    """A limiter for all processes with one Redis; while that is away, for this one alone.

    Args:
        client: A client whose commands fail soon when Redis is away.
        prefix: What the names of its keys begin with.
        clock: Returns seconds since some time, by which Redis is left alone after a failure.
    """

    def __init__(
        self,
        client: Redis | RedisCluster,
        rates: Rates,
        prefix: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._script = client.register_script(_SCRIPT)
        self._rates = rates
        self._prefix = prefix
        self._clock = clock
        self._alone = LocalLimiter(rates, clock)
        self._away_until: float | None = None

    async def admit(self, key: Namespace) -> Standing:
        """Let a request in and count it, or refuse it."""
        if (answer := await self._ask(key, 1, 0)) is None:
            return await self._alone.admit(key)
        admitted, requests, tokens = answer
        return standing_of(self._rates, float(requests), float(tokens), admitted=bool(admitted))

    async def spend(self, key: Namespace, tokens: int) -> None:
        """Count tokens."""
        if await self._ask(key, 0, tokens) is None:
            await self._alone.spend(key, tokens)

    async def _ask(self, key: Namespace, asked: int, spent: int) -> tuple[int, bytes, bytes] | None:
        """Run the script; None while Redis is away."""
        if self._away_until is not None and self._clock() < self._away_until:
            return None
        rates = self._rates
        values = [rates.requests or 0, rates.tokens or 0, asked, spent]
        try:
            name = f"{self._prefix}limits:{key}"
            answer = await cast("Awaitable[Any]", self._script(keys=[name], args=values))
        except (RedisError, OSError) as error:
            self._failed(error)
            return None
        if self._away_until is not None:
            self._away_until = None
            log.info("Redis is back: replicas share their limits again")
        return cast("tuple[int, bytes, bytes]", answer)

    def _failed(self, error: Exception) -> None:
        if self._away_until is None:
            log.warning("Redis is away: each replica limits by itself (%s)", error)
        self._away_until = self._clock() + PAUSE_SECONDS
