"""An index that somebody has closed: what is said meanwhile waits until it is opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import send
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import Store, StoreUnavailable
from memgpt_proxy.stores.records import Counts, NodeId
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, message, record
from tests.support.elasticsearch import ElasticsearchNode

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]

NEVER = (3600.0, 3600.0)

Ask = Callable[[Store], Awaitable[object]]


@pytest.fixture
async def journaled(
    elasticsearch: ElasticsearchNode, client: AsyncElasticsearch, tmp_path: Path
) -> AsyncIterator[tuple[JournaledStore, str]]:
    """A store of the test's own, and the index of what is said."""
    prefix = f"closed-{uuid4().hex[:8]}"
    inner = ElasticsearchStore(Connection([elasticsearch.url]), prefix=prefix)
    journals = [DiskJournal(tmp_path / "journal.db", 2**20)]
    store = JournaledStore(inner, journals, Telemetry(), probes=NEVER)
    await store.open()
    yield store, f"{prefix}-transcript-v1"
    await store.close()
    found = await send(client, "GET", f"/{prefix}-*", params={"expand_wildcards": "all"})
    for index in found:
        await send(client, "DELETE", f"/{index}")


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.ping(),
        lambda store: store.read_turn(ALICE, [NodeId("m0")], enough=1),
        lambda store: store.search_messages(ALICE, "hi", limit=1, offset=0),
        lambda store: store.counts(ALICE),
    ],
    ids=["ping", "look-up", "search", "count"],
)
async def test_it_is_away_until_it_is_opened(
    client: AsyncElasticsearch, journaled: tuple[JournaledStore, str], ask: Ask
) -> None:
    store, index = journaled
    await send(client, "POST", f"/{index}/_close")
    with pytest.raises(StoreUnavailable):
        await ask(store)
    assert store.degraded
    assert not await store.come_back()
    await send(client, "POST", f"/{index}/_open", params={"wait_for_active_shards": "1"})
    assert await store.come_back()
    await ask(store)


async def test_what_is_said_meanwhile_waits(
    client: AsyncElasticsearch, journaled: tuple[JournaledStore, str]
) -> None:
    store, index = journaled
    await store.commit(ALICE, record(message("m0", "hi")))
    await send(client, "POST", f"/{index}/_close")
    await store.commit(ALICE, record(message("m1", "hi")))
    assert store.degraded
    assert not await store.come_back()
    await send(client, "POST", f"/{index}/_open", params={"wait_for_active_shards": "1"})
    assert await store.come_back()
    assert await store.counts(ALICE) == Counts(2, 0)
