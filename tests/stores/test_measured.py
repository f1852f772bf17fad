"""A store whose calls are timed: by what was asked, and by how it failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from memgpt_proxy.stores.measured import MeasuredStore, Timed
from memgpt_proxy.stores.measured_vectors import MeasuredVectors
from memgpt_proxy.stores.protocols import StaleVersion, StoreUnavailable
from memgpt_proxy.stores.records import NO_TURN, ROOT
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.stores.vectors import BEGINNING, Embedded, Space
from memgpt_proxy.stores.vectors import Kind as VectorKind
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, message, passage, record
from tests.stores.switched import Switch
from tests.support.scrape import samples


def calls(telemetry: Telemetry) -> dict[tuple[str, str], float]:
    """How often what was asked, and what came of it."""
    name = "db_client_operation_duration_seconds_count"
    return {
        (each.labels["db_operation_name"], each.labels["error_type"]): each.value
        for each in samples(telemetry.exposition("")[0].decode())
        if each.name == name and each.labels["db_system_name"] == "sqlite"
    }


@pytest.fixture
async def switch(tmp_path: Path) -> AsyncIterator[Switch]:
    embedded = SqliteStore(tmp_path / "memory.db")
    await embedded.open()
    yield Switch(embedded)
    await embedded.close()


async def test_what_is_asked_is_timed(switch: Switch) -> None:
    telemetry = Telemetry()
    store = MeasuredStore(switch.store, Timed("sqlite", telemetry))
    await store.commit(ALICE, record(message("m0", "tea")))
    await store.commit(ALICE, record(message("m1", "tea")))
    page = await store.search_messages(ALICE, "tea", limit=10, offset=0)
    assert page.total == 2
    assert calls(telemetry) == {("commit", ""): 2, ("search_messages", ""): 1}


async def test_vectors_are_timed_as_well(tmp_path: Path) -> None:
    embedded = SqliteStore(tmp_path / "memory.db")
    await embedded.open()
    telemetry, space = Telemetry(), Space("tiny", 2)
    vectors = MeasuredVectors(SqliteVectors(embedded), Timed("sqlite", telemetry))
    await vectors.open()
    await embedded.insert_passages(ALICE, [passage("p", "tea")])
    [lacking] = (await vectors.lacking(space, BEGINNING, limit=10)).texts
    vector = np.array([1, 0], dtype=np.float32)
    await vectors.put_vectors(space, [Embedded(lacking.name, vector)])
    [near] = await vectors.nearest(ALICE, VectorKind.PASSAGE, space, vector, limit=10)
    await vectors.remove_others(space)
    assert near.hit.text == "tea"
    operations = ("lacking", "put_vectors", "nearest", "remove_others")
    assert calls(telemetry) == {(operation, ""): 1 for operation in operations}
    await vectors.close()
    await embedded.close()


async def test_failures_are_told_apart(switch: Switch) -> None:
    telemetry = Telemetry()
    store = MeasuredStore(switch.store, Timed("sqlite", telemetry))
    with pytest.raises(StaleVersion):
        await store.write_context(ALICE, 7, "tea", ROOT, NO_TURN)
    switch.here = False
    with pytest.raises(StoreUnavailable):
        await store.counts(ALICE)
    assert calls(telemetry) == {
        ("write_context", "StaleVersion"): 1,
        ("counts", "StoreUnavailable"): 1,
    }


async def test_what_is_cancelled_is_no_success(switch: Switch) -> None:
    telemetry = Telemetry()
    store = MeasuredStore(switch.store, Timed("sqlite", telemetry))
    asked = asyncio.get_running_loop().create_task(store.counts(ALICE))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert calls(telemetry) == {("counts", "CancelledError"): 1}
