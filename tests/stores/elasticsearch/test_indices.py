"""Indices on a real server: made once, whoever races; strict; refused where they are older."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch import indices
from memgpt_proxy.stores.elasticsearch.client import Refused, send
from memgpt_proxy.stores.elasticsearch.indices import (
    LAYOUTS,
    Names,
    create_missing,
    create_missing_one,
)
from memgpt_proxy.stores.protocols import StoreError

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
async def names(client: AsyncElasticsearch) -> AsyncIterator[Names]:
    made = Names(f"indices-{uuid4().hex}")
    yield made
    for layout in LAYOUTS:
        if index := await indices.behind(client, made.alias(layout)):
            await send(client, "DELETE", f"/{index}")


async def test_several_may_create_them_at_once(client: AsyncElasticsearch, names: Names) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(create_missing(client, names, shards=1))
    for layout in LAYOUTS:
        assert await indices.behind(client, names.alias(layout)) == names.index(layout)


async def test_they_are_strict_and_routed(client: AsyncElasticsearch, names: Names) -> None:
    await create_missing(client, names, shards=2)
    unrouted = f"/{names.transcript}/_doc/1"
    with pytest.raises(Refused, match="routing_missing"):
        await send(client, "PUT", unrouted, {"owner": "1"})
    with pytest.raises(Refused, match="strict_dynamic_mapping"):
        await send(client, "PUT", f"{unrouted}?routing=1", {"surprise": "1"})


async def test_an_older_version_has_to_be_migrated(
    client: AsyncElasticsearch, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_missing(client, names, shards=1)
    newer = tuple(replace(layout, version=layout.version + 1) for layout in LAYOUTS)
    monkeypatch.setattr(indices, "LAYOUTS", newer)
    with pytest.raises(StoreError, match="migrate"):
        await create_missing(client, names, shards=1)


@pytest.mark.parametrize(("ahead", "refused"), [(1, False), (2, True)])
async def test_the_next_version_may_be_used_and_no_later_one(
    client: AsyncElasticsearch, names: Names, ahead: int, *, refused: bool
) -> None:
    layout = LAYOUTS[0]
    newer = replace(layout, version=layout.version + ahead)
    await create_missing_one(client, names, newer, shards=1)
    if refused:
        with pytest.raises(StoreError, match="written by a newer release"):
            await create_missing(client, names, shards=1)
    else:
        await create_missing(client, names, shards=1)
