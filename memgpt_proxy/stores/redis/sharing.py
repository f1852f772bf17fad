"""Whether the gateways that share a Redis can share anything: by the secret of their namespaces.

What replicas keep in Redis goes by namespace. Each leaves the mark of its secret there.
"""

from __future__ import annotations

from memgpt_proxy.stores.redis.connection import RedisConnection

_KEPT_SECONDS = 30 * 24 * 3600


async def last_mark(redis: RedisConnection) -> str | None:
    """Return the mark of the gateway that was started last, of late. Raises RedisUnavailable."""
    answer: bytes | None = await redis.execute("GET", _key(redis))
    return None if answer is None else answer.decode("ascii", "replace")


async def leave_mark(redis: RedisConnection, own: str) -> str | None:
    """Leave one's own mark; return that which was there. Raises RedisUnavailable."""
    there = await last_mark(redis)
    await redis.execute("SET", _key(redis), own, "EX", _KEPT_SECONDS)
    return there


def _key(redis: RedisConnection) -> str:
    return redis.key("secret", "replicas")
