"""Every family of stores, open and empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store without records; the family's name is the parameter."""
    families = {"sqlite": lambda: SqliteStore(tmp_path / "memory.db")}
    opened: Store = families[request.param]()
    await opened.open()
    yield opened
    await opened.close()
