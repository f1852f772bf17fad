"""Search by meaning, put together from the settings.

It needs numpy, which takes a tenth of a second to import and some 20 MB: ``storage`` imports
this where an embedding model is configured.
"""

from __future__ import annotations

import httpx

from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.backend.embeddings import Embeddings
from memgpt_proxy.config import Settings
from memgpt_proxy.connections import elasticsearch_connection
from memgpt_proxy.memory.embedding import Embedder
from memgpt_proxy.memory.hybrid import HybridStore
from memgpt_proxy.memory.queries import Queries
from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.vectors import ElasticsearchVectors
from memgpt_proxy.stores.measured import Timed
from memgpt_proxy.stores.measured_vectors import MeasuredVectors
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.stores.vectors import VectorStore
from memgpt_proxy.telemetry import Telemetry


def by_meaning(
    settings: Settings,
    backend_url: str,
    transport: httpx.AsyncBaseTransport,
    store: Store,
    vectors: VectorStore,
    telemetry: Telemetry,
) -> Store:
    """Return ``store`` with search by meaning around it; as it is where no model is configured.

    Args:
        backend_url: Base URL of the backend, which has the embeddings unless another is set.
        transport: What carries requests to them; not closed from here.
        vectors: The vectors that belong to ``store``. Opened and closed with what is returned.
    """
    if settings.embedding_model is None:
        return store
    server = _server(settings, backend_url, transport)
    embeddings = Embeddings(server, settings.embedding_model, telemetry)
    embedder = Embedder(vectors, embeddings, telemetry)
    telemetry.queue("embedding", embedder.waiting)
    return HybridStore(store, vectors, embedder, Queries(embeddings, telemetry))


def vectors_of(
    settings: Settings, store: SqliteStore | ElasticsearchStore, telemetry: Telemetry
) -> VectorStore:
    """Return the vectors that belong to a store: in the same file, or the same cluster."""
    if isinstance(store, SqliteStore):
        return MeasuredVectors(SqliteVectors(store), Timed("sqlite", telemetry))
    vectors = ElasticsearchVectors(
        elasticsearch_connection(settings),
        prefix=settings.elasticsearch_prefix,
        shards=settings.elasticsearch_shards,
    )
    return MeasuredVectors(vectors, Timed("elasticsearch", telemetry))


def _server(settings: Settings, backend_url: str, transport: httpx.AsyncBaseTransport) -> Backend:
    url = str(settings.embedding_url or backend_url)
    key = settings.embedding_api_key
    if key is None and url.rstrip("/") == backend_url.rstrip("/"):
        key = settings.backend_api_key
    return Backend(
        url,
        transport,
        api_key=key.get_secret_value() if key else None,
        timeouts=Timeouts(settings.connect_timeout_seconds, settings.idle_timeout_seconds),
    )
