"""The hot state in front of a store: it answers as the store does, and spares it the asking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import StaleVersion, Store
from memgpt_proxy.stores.records import NO_TURN, Namespace, NodeId
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, branch, ids, queue, record

Answer = TypeVar("Answer")


class Counting:
    """The store itself, with the names of the methods asked of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._store, name)


@pytest.fixture
async def counting(tmp_path: Path) -> Any:
    counted = Counting(SqliteStore(tmp_path / "memory.db"))
    await counted.open()
    yield counted
    await counted.close()


async def test_a_warm_turn_asks_nothing_of_the_store(counting: Any) -> None:
    hot = HotStore(counting, 2**20)
    await hot.read_turn(ALICE, [NodeId("m0")], enough=0)
    await hot.read_turn(ALICE, [NodeId("another")], enough=0)
    counting.asked.clear()
    nodes = branch(["hi", "hello", "how are you?", "fine"])
    states = [queue("m0", start=0)]
    nodes = [replace(node, queue=NodeId("m0")) for node in nodes]
    await hot.commit(ALICE, record(*nodes[:2], queues=states))
    await hot.commit(ALICE, record(*nodes[2:]))
    turn = await hot.read_turn(ALICE, [*ids(nodes), NodeId("new")], enough=4)
    again = await hot.read_turn(ALICE, [NodeId("another")], enough=0)
    assert counting.asked == ["commit", "commit"]
    assert turn.nodes == tuple(nodes)
    assert turn.queue == states[0]
    assert turn.counts.messages == again.counts.messages == 4
    assert (again.known, again.nodes, again.queue) == (0, (), None)


async def test_the_working_context_is_read_once(counting: Any) -> None:
    hot = HotStore(counting, 2**20)
    await hot.read_turn(ALICE, [NodeId("m0")], enough=0)
    counting.asked.clear()
    written = await hot.write_context(ALICE, 0, "Name: Chad", NodeId("m0"), NO_TURN)
    assert await hot.context(ALICE) == written
    assert (await hot.read_turn(ALICE, [NodeId("m0")], enough=0)).context == written
    assert counting.asked == ["write_context"]


async def test_the_namespaces_used_last_stay(counting: Any) -> None:
    hot = HotStore(counting, 20_000)
    spaces = [Namespace(str(number)) for number in range(20)]
    for space in spaces:
        await hot.read_turn(space, [NodeId("m0")], enough=0)
        await hot.commit(space, record(*branch(["x" * 1000])))
        await hot.read_turn(spaces[0], [], enough=0)
    counting.asked.clear()
    await hot.read_turn(spaces[0], [], enough=0)
    await hot.read_turn(spaces[-1], [], enough=0)
    assert counting.asked == []
    await hot.read_turn(spaces[1], [], enough=0)
    assert counting.asked == ["read_turn"]


async def test_a_namespace_too_large_for_the_cache_is_read_each_time(counting: Any) -> None:
    hot = HotStore(counting, 2000)
    await hot.read_turn(ALICE, [], enough=0)
    nodes = branch(["x" * 5000, "y"])
    await hot.commit(ALICE, record(*nodes))
    for _ in range(2):
        assert (await hot.read_turn(ALICE, ids(nodes), enough=2)).nodes == tuple(nodes)


async def test_an_edit_from_elsewhere_is_seen_once_an_edit_has_met_it(tmp_path: Path) -> None:
    behind = SqliteStore(tmp_path / "memory.db")
    await behind.open()
    hot = HotStore(behind, 2**20)
    await hot.read_turn(ALICE, [], enough=0)
    await behind.write_context(ALICE, 0, "from elsewhere", NodeId("m0"), NO_TURN)
    with pytest.raises(StaleVersion):
        await hot.write_context(ALICE, 0, "from here", NodeId("m0"), NO_TURN)
    assert (await hot.context(ALICE)).content == "from elsewhere"
    await behind.close()
