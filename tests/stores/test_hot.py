"""The hot state in front of a store: it answers as the store does, and spares it the asking."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import StaleVersion, Store
from memgpt_proxy.stores.records import NO_TURN, ROOT, Namespace, Node, NodeId, TurnState
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, BOB, EPOCH, branch, ids, kept, message, passage, queue, record

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


SPACES = st.sampled_from([ALICE, BOB])
LEAVES = ["aa", "aba", "abb", "b"]
CHAINS = st.sampled_from([[leaf[: n + 1] for n in range(len(leaf))] for leaf in LEAVES])
NAMES = ["a", "b", "aa", "ab", "aba", "abb"]


def node_named(name: str, *, complete: bool = True) -> Node:
    """The node that a chain of these letters ends in; it depends on its name alone."""
    return message(
        name,
        f"text of {name}",
        parent=NodeId(name[:-1]) if len(name) > 1 else ROOT,
        depth=len(name) - 1,
        queue=NodeId(name[0]),
        created=EPOCH + len(name),
        entries=f'["{name}"]' if complete else "[]",
        complete=complete,
    )


class SideBySide(RuleBasedStateMachine):
    """The same calls to a store with hot state, and to one without."""

    @initialize(size=st.sampled_from([2**20, 3000, 1]))
    def open(self, size: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        folder = Path(self.directory.name)
        self.runner = asyncio.Runner()
        self.behind = SqliteStore(folder / "hot.db")
        self.hot = HotStore(self.behind, size)
        self.plain = SqliteStore(folder / "plain.db")
        self.runner.run(self.hot.open())
        self.runner.run(self.plain.open())
        self.known: dict[Namespace, set[str]] = {ALICE: set(), BOB: set()}

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.hot.close())
            self.runner.run(self.plain.close())
            self.runner.close()
            self.directory.cleanup()

    def both(self, ask: Callable[[Store], Awaitable[Answer]]) -> tuple[Answer, Answer]:
        async def asked() -> tuple[Answer, Answer]:
            return await ask(self.hot), await ask(self.plain)

        return self.runner.run(asked())

    def same(self, ask: Callable[[Store], Awaitable[Answer]]) -> Answer:
        hot, plain = self.both(ask)
        assert hot == plain
        return hot

    def read(self, space: Namespace, chain: list[str], enough: int) -> TurnState:
        """Both know at least what is enough, if that is known at all, and say the same of it."""
        names = [NodeId(name) for name in chain]
        hot, plain = self.both(lambda store: store.read_turn(space, names, enough=enough))
        assert min(plain.known, enough) <= hot.known <= plain.known
        assert hot.context == plain.context
        assert hot.counts.passages == plain.counts.passages
        # A message that the hot state did not know of is counted again until the next flush.
        assert hot.counts.messages >= plain.counts.messages
        if hot.known < plain.known:
            shorter = self.plain.read_turn(space, names[: hot.known], enough=hot.known)
            plain = self.runner.run(shorter)
        assert (hot.known, hot.nodes, hot.queue) == (plain.known, plain.nodes, plain.queue)
        return hot

    @rule(space=SPACES, chain=CHAINS, whole=st.booleans(), flush=st.integers(0, 2))
    def turn(self, space: Namespace, chain: list[str], *, whole: bool, flush: int) -> None:
        """A turn as the gateway takes it: read, then commit what is new, and perhaps flush.

        The last message is committed again where it is known: it may be complete by now.
        """
        before = self.read(space, chain, enough=len(chain) - 1)
        nodes = [node_named(name) for name in chain[before.known : -1]]
        nodes.append(node_named(chain[-1], complete=whole))
        states = [] if before.queue else [queue(chain[0], start=0)]
        self.same(lambda store: store.commit(space, record(*nodes, queues=states)))
        self.known[space].update(chain)
        if 0 < flush < len(chain):
            state = queue(chain[-1], start=flush, summary=f"flushed at {chain[-1]}")
            self.same(lambda store: store.commit(space, record(queues=[state])))

    @rule(space=SPACES, chain=CHAINS, data=st.data())
    def look(self, space: Namespace, chain: list[str], data: st.DataObject) -> None:
        enough = data.draw(st.integers(0, len(chain)))
        self.read(space, [*chain, "unknown"], enough)

    @rule(space=SPACES, stale=st.booleans(), text=st.sampled_from(["one", "two", ""]))
    def edit(self, space: Namespace, text: str, *, stale: bool) -> None:
        version = self.same(lambda store: store.context(space)).version

        async def write(store: Store) -> object:
            try:
                return await store.write_context(space, version - stale, text, NodeId("a"), NO_TURN)
            except StaleVersion:
                return "stale"

        assert (self.same(write) == "stale") == stale

    @rule(space=SPACES, name=st.sampled_from("pqr"))
    def archive(self, space: Namespace, name: str) -> None:
        self.same(lambda store: store.insert_passages(space, [passage(name, f"text {name}")]))

    @rule(space=SPACES)
    def ask(self, space: Namespace) -> None:
        self.same(lambda store: store.counts(space))
        self.same(lambda store: kept(store, space, [NodeId(name) for name in NAMES]))
        self.same(lambda store: store.search_messages(space, "text", limit=5, offset=0))

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        if hasattr(self, "hot"):
            spaces = self.hot._spaces
            assert self.hot._size <= self.hot._max_bytes or not spaces
            assert self.hot._size == sum(hot.size for hot in spaces.values())


SideBySide.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
test_side_by_side = SideBySide.TestCase
