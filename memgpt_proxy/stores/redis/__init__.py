"""Redis: the hot state that the replicas of a fleet share. Losing it loses no memory."""

from memgpt_proxy.stores.redis.circuit import RedisUnavailable
from memgpt_proxy.stores.redis.connection import RedisConnection, connect
from memgpt_proxy.stores.redis.log import RedisLog

__all__ = ["RedisConnection", "RedisLog", "RedisUnavailable", "connect"]
