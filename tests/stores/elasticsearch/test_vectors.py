"""Vectors on a real Elasticsearch: the indices of spaces, and searches that pass many texts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import numpy as np
import pytest

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore, vectors
from memgpt_proxy.stores.elasticsearch.client import Refused, connect, send
from memgpt_proxy.stores.elasticsearch.vectors import (
    LOOKED_THROUGH,
    ElasticsearchVectors,
    layout_of,
)
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.vectors import BEGINNING, Embedded, Kind, Name, Space
from tests.stores.build import ALICE, branch, passage, record
from tests.support.elasticsearch import ElasticsearchNode

pytestmark = pytest.mark.elasticsearch

WIDE = Space("wide", 384)


class Opened:
    """A store and its vectors in indices of their own."""

    def __init__(self, connection: Connection) -> None:
        self.prefix = f"vectors{uuid4().hex}"
        self.client = connect(connection)
        self.store = ElasticsearchStore(connection, prefix=self.prefix)
        self.vectors = ElasticsearchVectors(connection, prefix=self.prefix)

    async def indices(self) -> set[str]:
        return set(await send(self.client, "GET", f"/{self.prefix}-vectors-*/_alias"))

    def index_of(self, space: Space) -> str:
        return f"{self.prefix}-{layout_of(space).name}-v1"

    async def put(self, space: Space, name: str = "p0") -> None:
        """Store a passage, and a vector of it."""
        await self.store.insert_passages(ALICE, [passage(name, "text")])
        vector = np.eye(1, space.dimensions, dtype=np.float32)[0]
        named = Name(owner_of(ALICE), Kind.PASSAGE, name)
        await self.vectors.put_vectors(space, [Embedded(named, vector)])


@pytest.fixture
async def opened(elasticsearch: ElasticsearchNode) -> AsyncIterator[Opened]:
    made = Opened(Connection([elasticsearch.url]))
    await made.store.open()
    await made.vectors.open()
    yield made
    await made.vectors.close()
    await made.store.close()
    for index in await send(made.client, "GET", f"/{made.prefix}-*/_alias"):
        await send(made.client, "DELETE", f"/{index}")
    await made.client.close()


async def test_each_space_has_an_index_which_is_strict_and_routed(opened: Opened) -> None:
    other, longer = Space("Other/Model:7b", 384), Space("wide", 385)
    for space in (WIDE, other, longer):
        await opened.put(space)
    assert await opened.indices() == {opened.index_of(each) for each in (WIDE, other, longer)}
    index = opened.index_of(WIDE)
    with pytest.raises(Refused, match="routing_missing"):
        await send(opened.client, "PUT", f"/{index}/_doc/1", {"owner": "1"})
    with pytest.raises(Refused, match="strict_dynamic_mapping"):
        await send(opened.client, "PUT", f"/{index}/_doc/1?routing=1", {"surprise": "1"})


async def test_unused_indices_are_removed_and_used_ones_stay(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Space("other", 384)
    await opened.put(WIDE)
    await opened.put(other)
    await send(opened.client, "POST", f"/{opened.prefix}-vectors-*/_refresh")
    await opened.vectors.remove_others(WIDE)
    assert await opened.indices() == {opened.index_of(WIDE), opened.index_of(other)}
    monkeypatch.setattr(vectors, "UNUSED_NS", -(10**9))
    await opened.vectors.remove_others(WIDE)
    assert await opened.indices() == {opened.index_of(WIDE)}


async def test_an_index_that_was_removed_is_made_again(opened: Opened) -> None:
    await opened.put(WIDE)
    await send(opened.client, "DELETE", f"/{opened.index_of(WIDE)}")
    with pytest.raises(Refused):
        await opened.put(WIDE)
    await opened.put(WIDE)
    assert await opened.indices() == {opened.index_of(WIDE)}


async def test_many_texts_are_looked_through(opened: Opened) -> None:
    count = LOOKED_THROUGH + 50
    texts = [f"text {number}" for number in range(count)]
    await opened.store.commit(ALICE, record(*branch(texts)))
    await opened.store.insert_passages(ALICE, [passage("p0", "the last")])
    place, found = BEGINNING, []
    while True:
        lacking = await opened.vectors.lacking(WIDE, place, limit=100)
        if not lacking.texts and not lacking.more:
            break
        found += [text.text for text in lacking.texts]
        place = lacking.place
        none = [Embedded(text.name, None) for text in lacking.texts]
        await opened.vectors.put_vectors(WIDE, none)
    assert found == [*texts, "the last"]


async def test_the_nearest_of_many_are_found(opened: Opened) -> None:
    """A graph of bytes is not exact: nine of ten of the truly nearest are enough."""
    random = np.random.default_rng(7)
    made = random.normal(size=(600, WIDE.dimensions)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    names = [f"p{number}" for number in range(len(made))]
    await opened.store.insert_passages(ALICE, [passage(name, f"text {name}") for name in names])
    owner = owner_of(ALICE)
    embedded = [
        Embedded(Name(owner, Kind.PASSAGE, name), vector)
        for name, vector in zip(names, made, strict=True)
    ]
    await opened.vectors.put_vectors(WIDE, embedded)
    query = made[0]
    near = await opened.vectors.nearest(ALICE, Kind.PASSAGE, WIDE, query, limit=50)
    similar = made @ query
    best = {names[number] for number in np.argsort(-similar)[:50]}
    assert len(near) == 50
    assert len(best & {each.hit.id for each in near}) >= 45
    for each in near:
        assert each.similarity == pytest.approx(similar[int(each.hit.id[1:])], abs=0.03)
