"""An embedded store of the oldest version that is read: opened, asked, gone on with."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.connection import OLDEST_VERSION, SCHEMA_VERSION
from tests.support.gateway import GatewayProcess
from tests.upgrade.talk import KEY, SECRET, asked_afterwards, say

KEPT = Path(__file__).with_name(f"sqlite-{OLDEST_VERSION}.db.gz")


@pytest.fixture
def gateway(tmp_path: Path) -> GatewayProcess:
    """Today's gateway, not started, with the data directory of the old one."""
    gateway = GatewayProcess(tmp_path, None, env={"MEMGPT_NAMESPACE_SECRET": SECRET})
    gateway.data_dir.mkdir(mode=0o700)
    (gateway.data_dir / "memory.db").write_bytes(gzip.decompress(KEPT.read_bytes()))
    return gateway


def version(gateway: GatewayProcess) -> int:
    with closing(sqlite3.connect(gateway.data_dir / "memory.db")) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


@pytest.mark.slow
def test_the_memory_is_there_and_goes_on(gateway: GatewayProcess) -> None:
    assert version(gateway) == OLDEST_VERSION
    with gateway:
        asked_afterwards(gateway.base_url)
        say(gateway.base_url, "My dog's name is Rex.")
        traces = httpx.get(
            f"{gateway.origin}/memgpt/traces", headers={"authorization": f"Bearer {KEY}"}
        )
        assert traces.status_code == 200
        gateway.restart()
        assert "Rex" in say(gateway.base_url, "What is my dog's name?")
        asked_afterwards(gateway.base_url)
    assert version(gateway) == SCHEMA_VERSION


@pytest.mark.slow
def test_an_older_gateway_refuses_a_newer_store_in_one_line(gateway: GatewayProcess) -> None:
    with closing(sqlite3.connect(gateway.data_dir / "memory.db")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(AssertionError):
        gateway.start()
    [line] = gateway.log().splitlines()
    assert "written by a newer release" in line
    assert version(gateway) == SCHEMA_VERSION + 1


async def test_all_records_are_read(gateway: GatewayProcess) -> None:
    store = SqliteStore(gateway.data_dir / "memory.db")
    await store.open()
    try:
        counts = {}
        async for owner in store.owners():
            records = [
                record async for portion in store.export(owner) for record in portion.records
            ]
            assert len(records) == await store.size(owner)
            counts[owner] = len(records)
    finally:
        await store.close()
    assert len(counts) == 2, "one key, and one of its users"
    assert all(counts.values())
