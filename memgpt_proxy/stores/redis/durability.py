"""Whether a Redis keeps the writes that wait in it, by what it says of itself (``INFO``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import RedisCluster

from memgpt_proxy.stores.redis.connection import RedisConnection


async def servers(connection: RedisConnection) -> Sequence[Mapping[str, Any]]:
    """Return what the servers that take writes say of themselves. Raises RedisUnavailable."""
    async with connection.using() as client:
        if isinstance(client, RedisCluster):
            told_by = await client.info(target_nodes=RedisCluster.PRIMARIES)
            return list(told_by.values()) if "redis_version" not in told_by else [told_by]
        return [await client.info()]


def losses(about: Mapping[str, Any]) -> list[str]:
    """Return the ways in which a server may lose writes that wait, a line each."""
    found = []
    if not about.get("aof_enabled"):
        found.append(
            "appendonly is no: writes that wait for Elasticsearch would be lost when Redis"
            " ends (CONFIG SET appendonly yes)"
        )
    policy = str(about.get("maxmemory_policy", ""))
    if about.get("maxmemory") and policy.startswith("allkeys"):
        found.append(
            f"maxmemory-policy {policy} may evict writes that wait for Elasticsearch: set"
            " noeviction or volatile-lru"
        )
    return found
