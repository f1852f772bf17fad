"""One file written by several processes at once: no lost edit, nothing stored twice."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE

pytestmark = pytest.mark.slow

PROCESSES, EDITS, DEADLINE = 4, 25, 60


async def test_edits_and_turns_of_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    store = SqliteStore(path)
    await store.open()
    names = [f"process {number}" for number in range(PROCESSES)]
    module = "tests.stores.editing_process"
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, str(path), name, str(EDITS)
        )
        for name in names
    ]
    async with asyncio.timeout(DEADLINE):
        assert [await process.wait() for process in running] == [0] * PROCESSES
    context = await store.context(ALICE)
    assert context.version == PROCESSES * EDITS
    wanted = [f"{name} {number}" for name in names for number in range(EDITS)]
    assert sorted(context.content.splitlines()) == sorted(wanted)
    counts = await store.counts(ALICE)
    assert (counts.messages, counts.passages) == (4, EDITS)
    await store.close()
