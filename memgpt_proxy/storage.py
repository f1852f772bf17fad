"""The stores that the settings ask for: embedded in this process, or shared by a fleet.

::

    embedded   hot state → SQLite
    a fleet    hot state, told by Redis → journals (Redis, disk) → Elasticsearch

Search by meaning goes around either, where an embedding model is configured. What is not
configured is not imported: a single process shall not pay for a fleet.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from memgpt_proxy.config import Durability, Settings
from memgpt_proxy.stores.events import Events, LocalEvents
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.limits import Limiter, LocalLimiter, Rates
from memgpt_proxy.stores.measured import MeasuredStore, Timed
from memgpt_proxy.stores.protocols import Store, StoreFull
from memgpt_proxy.stores.secret_mark import mark
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.trace_writer import TraceWriter
from memgpt_proxy.telemetry import Telemetry

if TYPE_CHECKING:
    from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
    from memgpt_proxy.stores.redis import RedisConnection

log = logging.getLogger(__name__)

DATABASE = "memory.db"
"""The embedded store's file in the data directory."""


@dataclass(frozen=True, slots=True)
class Storage:
    """All that outlives a request, or is shared with other processes.

    Attributes:
        records: The store's records as they are, to be carried out of it and into it.
        limiter: What keeps API keys to their rates; None where there are none.
        redis: What replicas share, if they do.
    """

    store: Store
    traces: TraceWriter
    events: Events
    records: SqliteStore | ElasticsearchStore
    limiter: Limiter | None
    redis: RedisConnection | None = None

    @asynccontextmanager
    async def opened(self, secret: bytes) -> AsyncIterator[None]:
        """Hold all of it open. Raises StoreError when the store cannot be used.

        Args:
            secret: That of the namespaces, which replicas have to have in common.
        """
        async with AsyncExitStack() as stack:
            if self.redis is not None:
                from memgpt_proxy import fleet

                stack.push_async_callback(self.redis.close)
                await fleet.join(self.redis, secret)
            if not isinstance(self.records, SqliteStore):
                self.records.expect(mark(secret))  # it may be away now
            await self.store.open()
            stack.push_async_callback(self.store.close)
            if isinstance(self.records, SqliteStore):
                await _recognise(self.records, secret)
            await self.traces.open()
            stack.push_async_callback(self.traces.close)
            await self.events.open()
            stack.push_async_callback(self.events.close)
            yield


async def _recognise(store: SqliteStore, secret: bytes) -> None:
    """Tell of a database that was begun under another secret. Raises StoreError."""
    own = mark(secret)
    try:
        there = await store.leave_mark(own)
    except StoreFull:
        return  # another start will
    if there != own:
        log.warning(
            "%s was begun with another namespace secret than this: what was remembered with that"
            " is not found. Bring back the namespace.secret that it was kept with, or set"
            " namespace_secret as it was",
            store.file,
        )


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
    redis = _redis(settings, telemetry)
    if redis is not None:
        telemetry.redis(lambda: redis.away)
    kept, store = _stores(settings, redis, telemetry)
    if settings.embedding_model is not None:
        from memgpt_proxy.searching import by_meaning, vectors_of

        vectors = vectors_of(settings, kept, telemetry)
        store = by_meaning(settings, backend_url, transport, store, vectors, telemetry)
    traces = TraceWriter(kept)
    telemetry.queue("traces", traces.waiting)
    return Storage(
        store=store,
        traces=traces,
        events=_events(redis),
        records=kept,
        limiter=_limiter(settings, redis),
        redis=redis,
    )


def _stores(
    settings: Settings, redis: RedisConnection | None, telemetry: Telemetry
) -> tuple[SqliteStore | ElasticsearchStore, Store]:
    """Return what keeps the records, and the store as turns use it."""
    if settings.elasticsearch_url:
        from memgpt_proxy import fleet

        elasticsearch = fleet.elasticsearch(settings)
        return elasticsearch, fleet.shared(settings, elasticsearch, redis, telemetry)
    embedded = SqliteStore(
        settings.data_dir / DATABASE,
        synchronous="full" if settings.durability is Durability.POWER else "normal",
    )
    telemetry.store_full(embedded.is_full)
    measured = MeasuredStore(embedded, Timed("sqlite", telemetry))
    return embedded, HotStore(measured, settings.cache_mib * 2**20, telemetry=telemetry)


def _redis(settings: Settings, telemetry: Telemetry) -> RedisConnection | None:
    if settings.redis_url is None:
        return None
    from memgpt_proxy import fleet

    return fleet.redis(settings.redis_url, settings.redis_ca_file, telemetry)


def _events(redis: RedisConnection | None) -> Events:
    if redis is None:
        return LocalEvents()
    from memgpt_proxy import fleet

    return fleet.events(redis)


def _limiter(settings: Settings, redis: RedisConnection | None) -> Limiter | None:
    rates = Rates(settings.requests_per_minute, settings.tokens_per_minute)
    if rates == Rates() and settings.keys_file is None:
        return None
    if redis is None:
        return LocalLimiter(rates)
    from memgpt_proxy import fleet

    return fleet.limiter(redis, rates)
