"""Stores of each family, open for the time of a test, whose records can be moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import connect, send
from memgpt_proxy.stores.portable import ErasableStore
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore


class Family(Store, ErasableStore, Protocol):
    """A whole store whose records can be moved."""


@asynccontextmanager
async def opened_sqlite(path: Path) -> AsyncIterator[Family]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_elasticsearch(
    url: str, prefix: str = "", *, keep: bool = False
) -> AsyncIterator[Family]:
    """A store in indices of its own, which are gone at the end unless they are to be kept."""
    prefix = prefix or f"family_{uuid4().hex}"
    store = ElasticsearchStore(Connection([url]), prefix=prefix)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        if not keep:
            await remove_indices(url, prefix)


async def remove_indices(url: str, prefix: str) -> None:
    """Remove all that a prefix has, of whatever version."""
    client = connect(Connection([url]))
    for index in await send(client, "GET", f"/{prefix}-*/_alias"):
        await send(client, "DELETE", f"/{index}")
    await client.close()
