"""The stores that the settings ask for: embedded in this process, or shared by a fleet.

::

    embedded   hot state → SQLite
    a fleet    hot state, told by Redis → journals (Redis, disk) → Elasticsearch

Search by meaning goes around either, where an embedding model is configured.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from memgpt_proxy.config import Durability, Settings
from memgpt_proxy.connections import elasticsearch_connection
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
from memgpt_proxy.stores.events import Events, LocalEvents
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journal import Journal
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.limits import Limiter, LocalLimiter, Rates
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.redis import RedisConnection, RedisLog, connect
from memgpt_proxy.stores.redis.events import RedisEvents
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.redis.limits import RedisLimiter
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.trace_writer import TraceWriter
from memgpt_proxy.telemetry import Telemetry

DATABASE = "memory.db"
"""The embedded store's file in the data directory."""

JOURNAL = "journal.db"
"""The file, in the data directory, of writes that wait for Elasticsearch."""


@dataclass(frozen=True, slots=True)
class Storage:
    """All that outlives a request, or is shared with other processes.

    Attributes:
        limiter: What keeps API keys to their rates; None where there are none.
        redis: The connection that its parts share, if there is one.
    """

    store: Store
    traces: TraceWriter
    events: Events
    limiter: Limiter | None
    redis: RedisConnection | None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Hold all of it open. Raises StoreError when the store cannot be used."""
        async with AsyncExitStack() as stack:
            if self.redis is not None:
                stack.push_async_callback(self.redis.close)
            await self.store.open()
            stack.push_async_callback(self.store.close)
            await self.traces.open()
            stack.push_async_callback(self.traces.close)
            await self.events.open()
            stack.push_async_callback(self.events.close)
            yield


def storage(
    settings: Settings,
    backend_url: str,
    transport: httpx.AsyncBaseTransport,
    telemetry: Telemetry,
) -> Storage:
    """Return the storage that ``settings`` ask for, not yet open.

    Args:
        backend_url: Base URL of the backend, which may embed texts.
        transport: What carries requests to it.

    Raises ValueError for a Redis URL that cannot be one.
    """
    redis = _redis(settings)
    kept: SqliteStore | ElasticsearchStore
    store: Store
    if settings.elasticsearch_url:
        kept = _elasticsearch(settings)
        store = _shared(settings, kept, redis, telemetry)
    else:
        kept = _embedded(settings)
        store = HotStore(kept, _cache_bytes(settings))
    if settings.embedding_model is not None:
        # Here, since who does not search by meaning shall not pay for numpy.
        from memgpt_proxy.searching import by_meaning, vectors_of

        vectors = vectors_of(settings, kept)
        store = by_meaning(settings, backend_url, transport, store, vectors, telemetry)
    events: Events = RedisEvents(redis) if redis else LocalEvents()
    return Storage(store, TraceWriter(kept), events, _limiter(settings, redis), redis)


def _embedded(settings: Settings) -> SqliteStore:
    return SqliteStore(
        settings.data_dir / DATABASE,
        synchronous="full" if settings.durability is Durability.POWER else "normal",
    )


def _elasticsearch(settings: Settings) -> ElasticsearchStore:
    return ElasticsearchStore(
        elasticsearch_connection(settings),
        prefix=settings.elasticsearch_prefix,
        shards=settings.elasticsearch_shards,
    )


def _shared(
    settings: Settings,
    elasticsearch: ElasticsearchStore,
    redis: RedisConnection | None,
    telemetry: Telemetry,
) -> Store:
    """Return the store of a fleet. Without Redis nobody tells what others write: none is hot."""
    max_bytes = settings.journal_mib * 2**20
    on_disk = DiskJournal(settings.data_dir / JOURNAL, max_bytes)
    if redis is None:
        elasticsearch.alone(alone=True)
        return JournaledStore(elasticsearch, [on_disk], telemetry)
    journals: list[Journal] = [RedisJournal(redis, max_bytes), on_disk]
    journaled = JournaledStore(elasticsearch, journals, telemetry)
    return HotStore(journaled, _cache_bytes(settings), RedisLog(redis))


def _cache_bytes(settings: Settings) -> int:
    return settings.cache_mib * 2**20


def _redis(settings: Settings) -> RedisConnection | None:
    if settings.redis_url is None:
        return None
    return connect(settings.redis_url.get_secret_value(), settings.redis_ca_file)


def _limiter(settings: Settings, redis: RedisConnection | None) -> Limiter | None:
    rates = Rates(settings.requests_per_minute, settings.tokens_per_minute)
    if rates == Rates():
        return None
    return RedisLimiter(redis, rates) if redis else LocalLimiter(rates)
