"""The families of stores, opened empty, and what they take on disk."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.machine import scratch_directory
from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import Connection, connect
from memgpt_proxy.stores.elasticsearch.client import server_version as asked_version
from memgpt_proxy.stores.portable import PortableStore
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore

CACHE = "stores"


class Measured(Store, PortableStore, Protocol):
    """A store that can be filled."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and how many bytes of disk it takes once all is merged and copied in."""

    name: str
    store: Measured
    size: Callable[[], Awaitable[int]]


@asynccontextmanager
async def sqlite() -> AsyncIterator[Opened]:
    with scratch_directory(CACHE, "sqlite") as directory:
        store = SqliteStore(directory / "memory.db")
        await store.open()

        async def size() -> int:
            return sum(file.stat().st_size for file in directory.iterdir())

        yield Opened("SQLite", store, size)
        await store.close()


@asynccontextmanager
async def elasticsearch(url: str) -> AsyncIterator[Opened]:
    prefix = f"bench_{os.getpid()}"
    server = Connection([url])
    store = ElasticsearchStore(server, prefix=prefix)
    await store.open()
    client: Any = connect(server)
    try:

        async def size() -> int:
            await client.indices.refresh(index=f"{prefix}-*")
            told = await client.indices.stats(index=f"{prefix}-*", metric="store")
            return int(told["_all"]["primaries"]["store"]["size_in_bytes"])

        yield Opened("Elasticsearch", store, size)
    finally:
        await store.close()
        names = await client.indices.get(index=f"{prefix}-*")
        await client.indices.delete(index=",".join(names))
        await client.close()


async def server_version(url: str) -> str:
    client = connect(Connection([url]))
    try:
        return str(await asked_version(client))
    finally:
        await client.close()
