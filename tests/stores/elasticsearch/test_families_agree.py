"""Whatever was done, Elasticsearch answers as SQLite does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Namespace, NodeId, TurnState
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.conftest import SHARED_PREFIX
from tests.stores.build import ALICE, BOB
from tests.stores.test_hot_agrees import SideBySide
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.own_namespaces import OwnNamespaces

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(300)]

WRITES = {"commit", "insert_passages", "hide_passages", "show_passages", "write_context", "erase"}


class Both:
    """Writes to both families, and reads from Elasticsearch."""

    def __init__(self, asked: Store, beside: Store) -> None:
        self._asked = asked
        self._beside = beside

    def __getattr__(self, name: str) -> Any:
        asked, beside = getattr(self._asked, name), getattr(self._beside, name)
        if name not in WRITES:
            return asked

        async def write(*args: Any, **options: Any) -> Any:
            outcomes = await asyncio.gather(
                asked(*args, **options), beside(*args, **options), return_exceptions=True
            )
            assert type(outcomes[0]) is type(outcomes[1])
            if isinstance(outcomes[0], BaseException):
                raise outcomes[0]
            return outcomes[0]

        return write

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """A turn as it is read, with the counts that it may leave out."""
        state = await self._asked.read_turn(namespace, chain, enough=enough)
        if state.counts is not None:
            return state
        return replace(state, counts=await self._asked.counts(namespace))


class Families(SideBySide):
    """The same machine; what it takes for the hot state is Elasticsearch.

    Left out are a race, of which one family may carry out what the other does not, and a restart,
    since there is nothing to forget.
    """

    url = ""
    race: Callable[..., None] = None  # type: ignore[assignment]
    restart: Callable[..., None] = None  # type: ignore[assignment]

    @initialize()
    def open(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.runner.run(self.connect())
        self.known = {ALICE: [], BOB: []}
        self.clock = 0

    async def connect(self) -> None:
        self.plain = SqliteStore(Path(self.directory.name) / "memory.db")
        self.real = ElasticsearchStore(Connection([self.url]), prefix=SHARED_PREFIX)
        await self.plain.open()
        await self.real.open()
        both = Both(cast("Store", OwnNamespaces(self.real)), self.plain)
        self.hot = cast("HotStore", both)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.real.close())
            self.runner.run(self.plain.close())
            self.runner.close()
            self.directory.cleanup()

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        """Nothing is remembered."""


def test_families_agree(elasticsearch: ElasticsearchNode) -> None:
    served = type("Served", (Families,), {"url": elasticsearch.url})
    run_state_machine_as_test(
        served,
        settings=settings(
            max_examples=10,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
