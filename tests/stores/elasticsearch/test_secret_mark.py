"""Indices tell with which namespace secret they were begun, and it is in nobody's way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import send
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS, Names
from memgpt_proxy.stores.elasticsearch.migration import migrate
from memgpt_proxy.stores.elasticsearch.secret import ID, leave_mark, read_mark
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Holdings, Namespace
from memgpt_proxy.stores.storable import owner_of
from tests.stores.asking import exported
from tests.stores.build import message, record
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.process import free_port

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]

TOLD = "was begun with another namespace secret than this"
CONTEXTS = next(layout for layout in LAYOUTS if layout.name == "contexts")


async def start(node: ElasticsearchNode, names: Names, mark: str | None) -> ElasticsearchStore:
    """Open the store as a gateway whose secret has this mark."""
    store = ElasticsearchStore(Connection([node.url]), prefix=names.prefix)
    if mark is not None:
        store.expect(mark)
    await store.open()
    return store


async def test_a_start_with_another_secret_is_told_of(
    elasticsearch: ElasticsearchNode,
    client: AsyncElasticsearch,
    names: Names,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        await (await start(elasticsearch, names, "one")).close()
    assert TOLD not in caplog.text
    other = await start(elasticsearch, names, "other")
    await other.open()  # as when it was away
    await other.close()
    assert caplog.text.count(f"{names.prefix}-* {TOLD}") == 1
    assert await read_mark(client, names) == "one"
    caplog.clear()

    path = f"/{names.contexts}/_doc/{ID}?routing={ID}"  # as docs/operations.md says
    await send(client, "DELETE", path)
    await (await start(elasticsearch, names, "other")).close()
    assert TOLD not in caplog.text
    assert await read_mark(client, names) == "other"


async def test_indices_of_an_earlier_release_get_the_mark_of_who_starts_first(
    elasticsearch: ElasticsearchNode, client: AsyncElasticsearch, names: Names
) -> None:
    assert await read_mark(client, names) is None, "nothing was begun"
    await (await start(elasticsearch, names, None)).close()
    assert await read_mark(client, names) is None
    marks = [f"mark {number}" for number in range(8)]
    left = await asyncio.gather(*(leave_mark(client, names, mark) for mark in marks))
    assert len(set(left)) == 1
    assert await read_mark(client, names) == left[0]


async def test_it_is_nobodys_memory(
    elasticsearch: ElasticsearchNode, names: Names, client: AsyncElasticsearch, namespace: Namespace
) -> None:
    store = await start(elasticsearch, names, "one")
    owner = owner_of(namespace)
    await store.commit(namespace, record(message("m0", "hi")))
    assert [each async for each in store.owners()] == [owner]
    assert await store.size(None) == await store.size(owner) == len(await exported(store, owner))
    assert (await store.erase(namespace)).records == 1
    assert await store.holdings(owner) == Holdings()
    assert [each async for each in store.owners()] == []
    assert await store.size(None) == 0
    assert await read_mark(client, names) == "one"
    await store.close()


async def test_it_moves_to_another_version_of_its_index(
    elasticsearch: ElasticsearchNode, names: Names, client: AsyncElasticsearch
) -> None:
    await (await start(elasticsearch, names, "one")).close()
    second = replace(CONTEXTS, version=2)
    [moved] = await migrate(client, names, shards=1, progress=lambda *_: None, layouts=[second])
    assert moved.new == f"{names.contexts}-v2"
    assert await read_mark(client, names) == "one"


async def test_a_store_that_is_away_at_the_start_tells_when_it_is_back(
    elasticsearch: ElasticsearchNode,
    client: AsyncElasticsearch,
    names: Names,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = ElasticsearchStore(Connection([f"http://127.0.0.1:{free_port()}"]))
    nowhere.expect("one")
    with pytest.raises(StoreUnavailable):
        await nowhere.open()
    await nowhere.close()
    await (await start(elasticsearch, names, None)).close()
    block = {"index.blocks.write": True}
    await send(client, "PUT", f"/{names.contexts}/_settings", block)
    store = await start(elasticsearch, names, "one")
    assert await read_mark(client, names) is None, "it can be read, and takes no writes now"
    await send(client, "PUT", f"/{names.contexts}/_settings", {"index.blocks.write": None})
    await store.open()
    await store.close()
    assert await read_mark(client, names) == "one"
    assert TOLD not in caplog.text
