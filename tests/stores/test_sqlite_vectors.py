"""Vectors in the embedded store: exact search in blocks, in a file that may be of before."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import BLOCK_BYTES, LOOKED_THROUGH, SqliteVectors
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.vectors import BEGINNING, Embedded, Kind, Name, Space
from tests.stores.build import ALICE, BOB, branch, passage, record

pytestmark = pytest.mark.slow

WIDE = Space("wide", 384)


async def test_many_blocks_are_searched_exactly(tmp_path: Path) -> None:
    count = 3 * BLOCK_BYTES // (4 * WIDE.dimensions) + 17
    random = np.random.default_rng(7)
    vectors = random.normal(size=(count, WIDE.dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = SqliteStore(tmp_path / "memory.db")
    await store.open()
    opened = SqliteVectors(store)
    await opened.open()
    await store.insert_passages(ALICE, [passage(f"p{n}", f"text {n}") for n in range(count)])
    await opened.put_vectors(
        WIDE,
        [
            Embedded(Name(owner_of(ALICE), Kind.PASSAGE, f"p{number}"), vector)
            for number, vector in enumerate(vectors)
        ],
    )
    for query in random.normal(size=(5, WIDE.dimensions)).astype(np.float32):
        query /= np.linalg.norm(query)
        found = await opened.nearest(ALICE, Kind.PASSAGE, WIDE, query, limit=50)
        similar = vectors.astype(np.float64) @ query
        best = np.argsort(-similar)[:50]
        assert [near.hit.id for near in found] == [f"p{number}" for number in best]
        assert np.allclose([near.similarity for near in found], similar[best], atol=1e-5)
    await opened.close()
    await store.close()


async def test_searches_by_meaning_hold_up_no_other_read(tmp_path: Path) -> None:
    """They wait for each other, and the store's own reads pass them."""
    store = SqliteStore(tmp_path / "memory.db")
    await store.open()
    opened = SqliteVectors(store)
    await opened.open()
    vector = np.eye(1, WIDE.dimensions, dtype=np.float32)[0]
    await store.insert_passages(ALICE, [passage(f"p{n}", f"text {n}") for n in range(1000)])
    owner = owner_of(ALICE)
    named = [Name(owner, Kind.PASSAGE, f"p{number}") for number in range(1000)]
    await opened.put_vectors(WIDE, [Embedded(name, vector) for name in named])
    async with asyncio.TaskGroup() as group:
        searches = [
            group.create_task(opened.nearest(ALICE, Kind.PASSAGE, WIDE, vector, limit=9))
            for _ in range(200)
        ]
        await asyncio.sleep(0)
        assert (await store.counts(ALICE)).passages == 1000
        assert not all(search.done() for search in searches)
    await opened.close()
    await store.close()


async def test_a_search_for_texts_looks_through_a_bounded_number(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "memory.db")
    await store.open()
    opened = SqliteVectors(store)
    await opened.open()
    silent = LOOKED_THROUGH + 10
    await store.commit(ALICE, record(*branch([""] * silent + ["a word"])))
    first = await opened.lacking(WIDE, BEGINNING, limit=10)
    assert (first.texts, first.more) == ([], True)
    second = await opened.lacking(WIDE, first.place, limit=10)
    assert [text.text for text in second.texts] == ["a word"]
    await opened.close()
    await store.close()


async def test_vectors_last_and_go_with_their_text(tmp_path: Path) -> None:
    """A number of SQLite's may be given again: a vector must not outlive its text."""
    path = tmp_path / "memory.db"
    vector = np.eye(1, WIDE.dimensions, dtype=np.float32)[0]
    for namespace in (ALICE, BOB):
        store = SqliteStore(path)
        await store.open()
        opened = SqliteVectors(store)
        await opened.open()
        await store.insert_passages(namespace, [passage("p0", "text")])
        assert len((await opened.lacking(WIDE, BEGINNING, limit=9)).texts) == 1
        assert await opened.nearest(namespace, Kind.PASSAGE, WIDE, vector, limit=9) == ()
        name = Name(owner_of(namespace), Kind.PASSAGE, "p0")
        await opened.put_vectors(WIDE, [Embedded(name, vector)])
        await opened.close()
        await store.close()
        await open_again(path, namespace, vector)
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM passages")
        connection.close()


async def open_again(path: Path, namespace, vector) -> None:
    store = SqliteStore(path)
    await store.open()
    opened = SqliteVectors(store)
    await opened.open()
    (near,) = await opened.nearest(namespace, Kind.PASSAGE, WIDE, vector, limit=9)
    assert near.hit.id == "p0"
    await opened.close()
    await store.close()
