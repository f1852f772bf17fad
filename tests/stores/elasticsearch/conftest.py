"""Fixtures: stores on the run's Elasticsearch, in namespaces that nobody else uses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import connect, send
from memgpt_proxy.stores.elasticsearch.indices import Names
from memgpt_proxy.stores.records import Namespace
from tests.conftest import SHARED_PREFIX
from tests.support.elasticsearch import ElasticsearchNode


@pytest.fixture
async def shared(elasticsearch: ElasticsearchNode) -> AsyncIterator[ElasticsearchStore]:
    """An open store whose indices others use, too: take ``namespace``."""
    store = ElasticsearchStore(Connection([elasticsearch.url]), prefix=SHARED_PREFIX)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(elasticsearch: ElasticsearchNode) -> AsyncIterator[ElasticsearchStore]:
    """The store of another process."""
    store = ElasticsearchStore(Connection([elasticsearch.url]), prefix=SHARED_PREFIX)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def namespace() -> Namespace:
    """A namespace that nobody has used before."""
    return Namespace(uuid4().hex)


@pytest.fixture
async def client(elasticsearch: ElasticsearchNode) -> AsyncIterator[AsyncElasticsearch]:
    """A client of the run's Elasticsearch."""
    opened = connect(Connection([elasticsearch.url]))
    yield opened
    await opened.close()


@pytest.fixture
async def names(client: AsyncElasticsearch) -> AsyncIterator[Names]:
    """The names of indices that nobody else uses; what is made of them goes with the test."""
    made = Names(f"own-{uuid4().hex}")
    yield made
    for index in await send(client, "GET", f"/{made.prefix}-*"):
        await send(client, "DELETE", f"/{index}")
