"""A real store, alone and behind its hot state."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite", "hot"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    embedded = SqliteStore(tmp_path / "memory.db")
    opened: Store = HotStore(embedded, 2**20) if request.param == "hot" else embedded
    await opened.open()
    yield opened
    await opened.close()
