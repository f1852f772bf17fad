"""An index moves to a made-up version 2 while it is written to and read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore, indices, migration
from memgpt_proxy.stores.elasticsearch.client import send
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS, Names
from memgpt_proxy.stores.elasticsearch.migration import Migrated, migrate
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable
from memgpt_proxy.stores.records import Namespace, NodeId
from tests.stores.build import branch, ids, message, passage, record
from tests.support.elasticsearch import ElasticsearchNode

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]

DEADLINE = 50.0
TRANSCRIPT = LAYOUTS[0]
SECOND = replace(
    TRANSCRIPT,
    version=2,
    fields={**TRANSCRIPT.fields, "mood": {"type": "keyword"}},
    upgrade="ctx._source.mood = 'calm'",
)


@pytest.fixture
async def store(
    elasticsearch: ElasticsearchNode, client: AsyncElasticsearch, names: Names
) -> AsyncIterator[ElasticsearchStore]:
    """A store in indices of its own."""
    opened = ElasticsearchStore(Connection([elasticsearch.url]), prefix=names.prefix)
    await opened.open()
    yield opened
    await opened.close()


def silent(_alias: str, _done: int, _total: int) -> None:
    """Nobody looks on."""


async def test_nothing_is_lost_that_is_written_meanwhile(
    store: ElasticsearchStore,
    client: AsyncElasticsearch,
    names: Names,
    namespace: Namespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migration, "POLL_SECONDS", 0.02)
    before = branch([f"before {number}" for number in range(3000)])
    await store.commit(namespace, record(*before))
    told: list[tuple[str, int, int]] = []
    written: list[str] = []
    several, done = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            name = f"n{len(written)}"
            try:
                await store.commit(namespace, record(message(name, f"during {len(written)}")))
            except StoreUnavailable:  # it would wait in the journal
                await asyncio.sleep(0.01)
                continue
            written.append(name)
            if len(written) >= 3:
                several.set()

    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        group.create_task(write())
        moved = await migrate(
            client, names, shards=1, progress=lambda *each: told.append(each), layouts=[SECOND]
        )
        await several.wait()
        done.set()
    old, new = f"{names.transcript}-v1", f"{names.transcript}-v2"
    assert moved == [Migrated(names.transcript, old, new)]
    assert await indices.behind(client, names.transcript) == new
    stored = [await store.path(namespace, NodeId(name), 1) for name in written]
    assert [ids(path) for path in stored] == [[name] for name in written]
    assert (await store.counts(namespace)).messages == len(before) + len(written)
    assert await store.path(namespace, NodeId("m2999"), 3000) == tuple(before)
    assert {alias for alias, _, _ in told} == {names.transcript}
    assert all(copied <= total for _, copied, total in told)
    assert told[-1][1] == told[-1][2]
    calm = await send(client, "GET", f"/{new}/_count?q=mood:calm")
    assert calm["count"] >= len(before)


async def test_the_old_index_takes_no_writes_any_more(
    store: ElasticsearchStore, client: AsyncElasticsearch, names: Names, namespace: Namespace
) -> None:
    await store.commit(namespace, record(message("m0", "hi")))
    await migrate(client, names, shards=1, progress=silent, layouts=[SECOND])
    late = f"/{names.transcript}-v1/_doc/late?routing=1"
    with pytest.raises(StoreUnavailable, match="cluster_block"):
        await send(client, "PUT", late, {"owner": "1"})


async def test_what_was_broken_off_is_begun_again(
    store: ElasticsearchStore,
    client: AsyncElasticsearch,
    names: Names,
    namespace: Namespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = branch([f"text {number}" for number in range(40)])
    await store.commit(namespace, record(*nodes))

    async def ends(_: migration._Move) -> None:
        raise StoreUnavailable("the process ends here")

    with monkeypatch.context() as broken:
        broken.setattr(migration._Move, "_change_over", ends)
        with pytest.raises(StoreUnavailable):
            await migrate(client, names, shards=1, progress=silent, layouts=[SECOND])
    await store.commit(namespace, record(replace(nodes[0]), message("later", "later")))
    await store.commit(namespace, record(queues=[]))
    await migrate(client, names, shards=1, progress=silent, layouts=[SECOND])
    assert await indices.behind(client, names.transcript) == f"{names.transcript}-v2"
    assert (await store.counts(namespace)).messages == 41
    assert await store.path(namespace, NodeId("m39"), 40) == tuple(nodes)


async def test_what_is_up_to_date_stays_and_what_is_missing_is_made(
    client: AsyncElasticsearch, names: Names
) -> None:
    assert await migrate(client, names, shards=1, progress=silent) == []
    assert await indices.behind(client, names.passages) == f"{names.passages}-v1"
    assert await migrate(client, names, shards=1, progress=silent) == []


async def test_what_cannot_be_copied_leaves_the_old_index_in_use(
    store: ElasticsearchStore, client: AsyncElasticsearch, names: Names, namespace: Namespace
) -> None:
    await store.insert_passages(namespace, [passage("p", "tea")])
    broken = replace(LAYOUTS[1], version=2, upgrade="ctx._source.unheard_of = 1")
    with pytest.raises(StoreError, match="strict_dynamic_mapping"):
        await migrate(client, names, shards=1, progress=silent, layouts=[broken])
    await store.insert_passages(namespace, [passage("q", "tea")])
    assert (await store.counts(namespace)).passages == 2
