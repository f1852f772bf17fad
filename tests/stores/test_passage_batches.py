"""Many passages at once: other writers get in between, and what was cancelled is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.store import MOST_PASSAGES
from tests.stores.build import ALICE, BOB, message, passage, record

DEADLINE = 10.0
MANY = [passage(f"p{n}", f"passage number{n}") for n in range(20 * MOST_PASSAGES + 1)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "memory.db")
    await opened.open()
    yield opened
    await opened.close()


async def test_all_are_stored(store: SqliteStore) -> None:
    await store.insert_passages(ALICE, MANY)
    assert (await store.counts(ALICE)).passages == len(MANY)
    found = await store.search_passages(ALICE, "number2560", limit=2, offset=0)
    assert [hit.id for hit in found.hits] == ["p2560"]


async def test_others_write_while_a_book_is_stored(store: SqliteStore) -> None:
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        book = group.create_task(store.insert_passages(ALICE, MANY))
        await asyncio.sleep(0)  # it has begun
        await store.commit(BOB, record(message("m0", "hello")))
        assert not book.done()
        assert (await store.counts(ALICE)).passages < len(MANY)
    assert (await store.counts(ALICE)).passages == len(MANY)


async def test_what_was_cancelled_is_repeated_without_a_duplicate(store: SqliteStore) -> None:
    async with asyncio.timeout(DEADLINE):
        async with asyncio.TaskGroup() as group:
            book = group.create_task(store.insert_passages(ALICE, MANY))
            await asyncio.sleep(0)
            await store.commit(BOB, record(message("m0", "hello")))
            book.cancel()
        begun = (await store.counts(ALICE)).passages
        assert 0 < begun < len(MANY)
        await store.insert_passages(ALICE, MANY)
    assert (await store.counts(ALICE)).passages == len(MANY)
