"""Limits in Redis: replicas keep a key to its rates together.

One script call a request, by the server's time. A key's buckets are one hash, which expires when
they are full.
"""

from __future__ import annotations

import logging

from memgpt_proxy.stores.limits import (
    PERIOD,
    TOLERANCE,
    LocalLimiter,
    Rates,
    Standing,
    standing_of,
)
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.redis.circuit import RedisUnavailable
from memgpt_proxy.stores.redis.connection import RedisConnection, Script
from memgpt_proxy.stores.storable import owner_of

log = logging.getLogger(__name__)

_TAKE = Script(
    "take",
    f"""
local rates = {{tonumber(ARGV[1]), tonumber(ARGV[2])}}
local asked, spent = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'at')
local passed = math.max(0, now - (held[3] or now)) / {PERIOD * 1e6:.0f}
local used, admitted = {{}}, 1
for i = 1, 2 do
    used[i] = rates[i] > 0 and math.max(0, (held[i] or 0) - passed * rates[i]) or 0
    if rates[i] > 0 and used[i] + asked - rates[i] > {TOLERANCE} then admitted = 0 end
end
if admitted == 1 or asked == 0 then
    local full, taken = 0, {{asked, spent}}
    for i = 1, 2 do
        if rates[i] > 0 then
            used[i] = used[i] + taken[i]
            full = math.max(full, used[i] / rates[i])
        end
    end
    local requests, tokens = string.format('%.17g', used[1]), string.format('%.17g', used[2])
    redis.call('HSET', KEYS[1], 'requests', requests, 'tokens', tokens,
        'at', string.format('%.0f', math.max(now, held[3] or now)))
    redis.call('PEXPIRE', KEYS[1], math.min(math.ceil(full * {PERIOD * 1e3:.0f}) + 1, 2^52))
end
return {{admitted, string.format('%.17g', used[1]), string.format('%.17g', used[2])}}
""",
)
"""Refills the buckets of a key, then takes ``asked`` requests and ``spent`` tokens.

What has no limit is not counted: one that is set later begins full.

A request is let in where one is left in each bucket; what is spent is taken in any case. ``at`` is
in microseconds, and a clock that was set back refills none.
"""


class RedisLimiter:
    """A limiter for all processes with one Redis.

    While that is away each process limits by itself, and knows nothing of what was used before.
    """

    def __init__(self, redis: RedisConnection, rates: Rates) -> None:
        self._redis = redis
        self._rates = rates
        self._alone = LocalLimiter(rates)
        self._is_alone = False

    async def admit(self, key: Namespace, own: Rates | None = None) -> Standing:
        """Let a request in and count it, or refuse it."""
        rates = own or self._rates
        try:
            admitted, requests, tokens = await self._take(key, rates, 1, 0)
        except RedisUnavailable as error:
            self._left_alone(error)
            return await self._alone.admit(key, rates)
        # One that is full answers too, where there is nothing to count.
        self._is_alone = self._is_alone and self._redis.away
        return standing_of(rates, float(requests), float(tokens), admitted=bool(admitted))

    async def spend(self, key: Namespace, tokens: int, own: Rates | None = None) -> None:
        """Count tokens."""
        rates = own or self._rates
        try:
            await self._take(key, rates, 0, tokens)
        except RedisUnavailable as error:
            self._left_alone(error)
            await self._alone.spend(key, tokens, rates)

    async def _take(
        self, key: Namespace, rates: Rates, asked: int, spent: int
    ) -> tuple[int, bytes, bytes]:
        name = self._redis.key("limits", owner_of(key))
        most = (rates.requests or 0, rates.tokens or 0)
        answer = await self._redis.run(_TAKE, [name], [*most, asked, spent])
        return answer[0], answer[1], answer[2]

    def _left_alone(self, error: RedisUnavailable) -> None:
        if not self._is_alone:
            log.warning("each replica limits by itself: %s", error)
        self._is_alone = True
