"""Every family of stores, open and empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore

HOT_BYTES = 2**20


@pytest.fixture(params=["sqlite", "hot"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store without records; the family's name is the parameter."""
    embedded = SqliteStore(tmp_path / "memory.db")
    families: dict[str, Store] = {"sqlite": embedded, "hot": HotStore(embedded, HOT_BYTES)}
    opened = families[request.param]
    await opened.open()
    yield opened
    await opened.close()
