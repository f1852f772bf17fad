"""Erasing: it goes on where its caller leaves, and keeps nobody from stopping."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memgpt_proxy.memory import erasing
from memgpt_proxy.memory.erasing import Eraser
from memgpt_proxy.stores.events import LocalEvents
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.trace_writer import TraceWriter
from tests.stores.build import ALICE
from tests.stores.switched import Switch


async def test_what_the_store_never_erases_does_not_keep_it_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "LAST_SECONDS", 0.01)
    embedded = SqliteStore(tmp_path / "memory.db")
    await embedded.open()
    switch = Switch(embedded)
    switch.hangs = True
    eraser = Eraser(switch.store, TraceWriter(embedded), LocalEvents())
    erase = asyncio.get_running_loop().create_task(eraser.erase(ALICE))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await eraser.close()
    with pytest.raises(asyncio.CancelledError):
        await erase
    await embedded.close()
