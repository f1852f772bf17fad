"""Stores with their vectors, of every family, as fixtures make them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import connect, send
from memgpt_proxy.stores.elasticsearch.vectors import ElasticsearchVectors
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.stores.vectors import VectorStore
from tests.support.elasticsearch import ElasticsearchNode

VECTOR_FAMILIES = ["sqlite", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)]
"""What a fixture that takes ``empty_stores`` has as parameters."""


@asynccontextmanager
async def empty_stores(
    request: pytest.FixtureRequest, directory: Path
) -> AsyncIterator[tuple[Store, VectorStore]]:
    """Give a store of the fixture's family and its vectors, neither of them open.

    Those of Elasticsearch are in indices of their own, since what lacks a vector is looked for
    in all namespaces.
    """
    if request.param == "sqlite":
        embedded = SqliteStore(directory / "memory.db")
        yield embedded, SqliteVectors(embedded)
        return
    node: ElasticsearchNode = request.getfixturevalue("elasticsearch")
    connection, prefix = Connection([node.url]), f"vectors{uuid4().hex}"
    yield (
        ElasticsearchStore(connection, prefix=prefix),
        ElasticsearchVectors(connection, prefix=prefix),
    )
    client = connect(connection)
    for index in await send(client, "GET", f"/{prefix}-*/_alias"):
        await send(client, "DELETE", f"/{index}")
    await client.close()
