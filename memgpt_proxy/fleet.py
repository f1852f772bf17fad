"""What replicas share, put together from the settings: Elasticsearch, Redis, and the journals.

``storage`` imports this only where one of the two is configured: their clients take a third of
a second and some 25 MB.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import SecretStr

from memgpt_proxy.config import Settings
from memgpt_proxy.connections import elasticsearch_connection
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
from memgpt_proxy.stores.events import Events
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journal import Journal
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.limits import Limiter, Rates
from memgpt_proxy.stores.measured import MeasuredStore, Timed
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Owner
from memgpt_proxy.stores.redis import RedisConnection, RedisLog, RedisUnavailable, connect
from memgpt_proxy.stores.redis.events import RedisEvents
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.redis.limits import RedisLimiter
from memgpt_proxy.stores.redis.sharing import leave_mark
from memgpt_proxy.stores.secret_mark import mark
from memgpt_proxy.telemetry import Telemetry

log = logging.getLogger(__name__)

JOURNAL = "journal.db"
"""The file, in the data directory, of writes that wait for Elasticsearch."""


def redis(
    url: SecretStr, ca_file: Path | None, telemetry: Telemetry | None = None
) -> RedisConnection:
    """Return the Redis of a fleet. Raises ValueError for a URL that cannot be one."""
    timing = Timed("redis", telemetry) if telemetry else None
    return connect(url.get_secret_value(), ca_file, timing=timing)


def elasticsearch(settings: Settings) -> ElasticsearchStore:
    """Return the store of a fleet as it is: nothing hot, nothing waiting."""
    return ElasticsearchStore(
        elasticsearch_connection(settings),
        prefix=settings.elasticsearch_prefix,
        shards=settings.elasticsearch_shards,
    )


def shared(
    settings: Settings,
    store: ElasticsearchStore,
    redis: RedisConnection | None,
    telemetry: Telemetry,
) -> Store:
    """Return a fleet's store as turns use it: writes may wait, and what is read stays hot.

    Without Redis nobody tells what other replicas write: then nothing is hot.
    """
    measured = MeasuredStore(store, Timed("elasticsearch", telemetry))
    max_bytes = settings.journal_mib * 2**20
    on_disk = DiskJournal(settings.data_dir / JOURNAL, max_bytes)
    if redis is None:
        store.alone(alone=True)
        return JournaledStore(measured, [on_disk], telemetry)
    journals: list[Journal] = [RedisJournal(redis, max_bytes), on_disk]
    journaled = JournaledStore(measured, journals, telemetry)
    hot = HotStore(journaled, settings.cache_mib * 2**20, RedisLog(redis), telemetry)
    journaled.tell(hot.stored_late)
    return hot


async def join(redis: RedisConnection, secret: bytes) -> None:
    """See at the start whether Redis is there, and who shares it; the log tells what is wrong.

    Args:
        secret: That of the namespaces.
    """
    own = mark(secret)
    try:
        other = await leave_mark(redis, own)
    except RedisUnavailable:
        return  # which has been told: turns do without it
    if other not in (None, own):
        log.warning(
            "a gateway with another namespace_secret was started last at this Redis: those two "
            "share no limits, live events or memory. Set the same namespace_secret for all replicas"
        )


async def have_forgotten(url: SecretStr, ca_file: Path | None, owner: Owner) -> None:
    """Have all replicas forget what they have in memory of an owner, and what waits of it in Redis.

    Raises StoreUnavailable; ValueError for a URL that cannot be one.
    """
    connection = redis(url, ca_file)
    try:
        await RedisJournal(connection, 0).forget(owner)
        await RedisLog(connection).forget(owner)
    finally:
        await connection.close()


def limiter(redis: RedisConnection, rates: Rates) -> Limiter:
    """Return what keeps API keys to their rates, whichever replica they ask."""
    return RedisLimiter(redis, rates)


def events(redis: RedisConnection) -> Events:
    """Return the live events of all replicas."""
    return RedisEvents(redis)
