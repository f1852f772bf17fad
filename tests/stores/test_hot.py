"""The hot state in front of a store: it answers as the store does, and spares it the asking."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.stores import hot as hot_module
from memgpt_proxy.stores.changes import Uncertain
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import StaleVersion, Store, StoreAway
from memgpt_proxy.stores.records import (
    MOST_AFTER,
    NO_TURN,
    Conversation,
    Counts,
    Namespace,
    NodeId,
    TurnState,
)
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, BOB, EPOCH, branch, ids, message, passage, queue, record
from tests.stores.silent_log import SilentLog
from tests.stores.switched import Switch


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
    assert turn.counts == again.counts == Counts(4, 0)
    assert (again.known, again.nodes, again.queue) == (0, (), None)


async def test_a_history_taken_in_at_once_is_read_as_it_is_needed(counting: Any) -> None:
    hot = HotStore(counting, 2**26)
    await hot.read_turn(ALICE, [NodeId("m0")], enough=0)
    nodes = [replace(n, queue=NodeId("m1900")) for n in branch(["hi"] * 2000)]
    await hot.commit(ALICE, record(*nodes, queues=[queue("m1900", start=1900)]))
    turn = await hot.read_turn(ALICE, [*ids(nodes), NodeId("new")], enough=1999)
    assert (turn.known, turn.nodes) == (2000, tuple(nodes[1900:]))
    assert counting.asked[-1] == "read_turn"
    await hot.read_turn(ALICE, [*ids(nodes), NodeId("new")], enough=1999)
    assert counting.asked.count("read_turn") == 2


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


class Refusing(Counting):
    """A store that is away for edits, and knows it."""

    async def write_context(self, *args: Any) -> None:
        raise StoreAway("away")


async def test_what_is_at_hand_stays_when_an_edit_is_refused(tmp_path: Path) -> None:
    store: Any = Refusing(SqliteStore(tmp_path / "memory.db"))
    await store.open()
    hot, nodes = HotStore(store, 2**20), branch(["hi"])
    await hot.read_turn(ALICE, ids(nodes), enough=0)
    await hot.commit(ALICE, record(*nodes))
    store.asked.clear()
    with pytest.raises(StoreAway):
        await hot.write_context(ALICE, 0, "Name: Chad", NodeId("m0"), NO_TURN)
    assert (await hot.read_turn(ALICE, ids(nodes), enough=1)).known == 1
    assert store.asked == []
    await store.close()


async def test_a_conversation_that_goes_on_by_name_asks_nothing(counting: Any) -> None:
    hot, name = HotStore(counting, 2**20), NodeId("name")
    await hot.read_turn(ALICE, [NodeId("m0")], enough=0)
    nodes = branch(["hi", "hello", "how are you?", "fine"])
    nodes = [replace(node, queue=NodeId("m0")) for node in nodes]
    nodes[0] = replace(nodes[0], parent=name)
    states = [queue("m0", start=0)]
    tip = Conversation(name, NodeId("m1"), resends=False)
    await hot.commit(ALICE, record(*nodes[:2], queues=states, conversation=tip))
    counting.asked.clear()
    assert await hot.conversation(ALICE, name) == tip
    assert await hot.path(ALICE, tip.tip, 2) == tuple(nodes[:2])
    assert (await hot.read_turn(ALICE, [tip.tip], enough=1)).nodes == tuple(nodes[:2])
    await hot.commit(ALICE, record(*nodes[2:]))
    assert (await hot.read_turn(ALICE, [NodeId("m3")], enough=1)).nodes == tuple(nodes)
    assert counting.asked == ["commit"]


async def test_a_conversation_that_is_opened_again_is_not_taken_for_new(counting: Any) -> None:
    nodes = branch(["hi", "hello"])
    await counting.commit(ALICE, record(*nodes, queues=[queue("m0", 0)]))
    hot = HotStore(counting, 2**20)
    await hot.read_turn(ALICE, [NodeId("another")], enough=0)
    for _ in range(2):
        turn = await hot.read_turn(ALICE, [NodeId("m0")], enough=0)
        assert (turn.known, ids(turn.after)) == (1, ["m1"])
    assert counting.asked[2:] == ["read_turn", "read_turn"]


async def test_what_the_store_knew_is_not_counted_again(counting: Any) -> None:
    nodes = branch(["hi", "hello"])
    await counting.commit(ALICE, record(*nodes, queues=[queue("m0", 0)]))
    hot = HotStore(counting, 2**20)
    for commit in (record(), record(*nodes), record(nodes[1]), record(message("new", "new"))):
        await hot.read_turn(ALICE, [NodeId("another")], enough=0)
        await hot.commit(ALICE, commit)
        turn = await hot.read_turn(ALICE, [], enough=0)
        assert turn.counts == await counting.counts(ALICE)


class Delayed(Counting):
    """A store whose first read comes back late: once it is let go."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    async def read_turn(self, *args: Any, **kwargs: Any) -> TurnState:
        self.asked.append("read_turn")
        state = await self._store.read_turn(*args, **kwargs)
        if not self.entered.is_set():
            self.entered.set()
            await self.go.wait()
        return state


@pytest.fixture
async def delayed(tmp_path: Path) -> Any:
    store = Delayed(SqliteStore(tmp_path / "memory.db"))
    await store.open()
    yield store
    await store.close()


async def test_a_read_that_a_write_has_overtaken_is_not_remembered(delayed: Any) -> None:
    hot, nodes = HotStore(delayed, 2**20), branch(["hi", "hello", "again"])
    nodes = [replace(node, queue=NodeId("m0")) for node in nodes]
    await hot.commit(ALICE, record(*nodes[:2], queues=[queue("m0", 0)]))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        early = group.create_task(hot.read_turn(ALICE, ids(nodes[:2]), enough=2))
        await delayed.entered.wait()
        await hot.commit(ALICE, record(nodes[2]))
        await hot.write_context(ALICE, 0, "Name: Chad", NodeId("m0"), NO_TURN)
        delayed.go.set()
        assert (await early).after == ()
    for _ in range(2):
        turn = await hot.read_turn(ALICE, ids(nodes[:2]), enough=2)
        assert turn.after == (nodes[2],)
        assert turn.context.content == "Name: Chad"
        assert (await hot.counts(ALICE)).messages == 3


async def test_a_late_read_does_not_bring_back_what_was_before(delayed: Any) -> None:
    hot, nodes = HotStore(delayed, 2**20), branch(["hi", "hello", "again"])
    nodes = [replace(node, queue=NodeId("m0")) for node in nodes]
    await hot.commit(ALICE, record(*nodes[:2], queues=[queue("m0", 0)]))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        early = group.create_task(hot.read_turn(ALICE, ids(nodes[:2]), enough=2))
        await delayed.entered.wait()
        await hot.read_turn(ALICE, ids(nodes[:2]), enough=2)
        await hot.commit(ALICE, record(nodes[2]))
        delayed.go.set()
        await early
    assert (await hot.after(ALICE, NodeId("m1"))) == (nodes[2],)
    assert (await hot.read_turn(ALICE, ids(nodes[:2]), enough=2)).after == (nodes[2],)


async def test_nothing_is_remembered_before_a_cancelled_write_has_ended(
    counting: Any, tmp_path: Path
) -> None:
    hot, nodes = HotStore(counting, 2**20), branch(["hi", "hello"])
    nodes = [replace(node, queue=NodeId("m0")) for node in nodes]
    await hot.read_turn(ALICE, ids(nodes[:1]), enough=0)
    await hot.commit(ALICE, record(nodes[0], queues=[queue("m0", 0)]))
    other = sqlite3.connect(tmp_path / "memory.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    commit = asyncio.get_running_loop().create_task(hot.commit(ALICE, record(nodes[1])))
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    assert (await hot.read_turn(ALICE, ids(nodes[:1]), enough=1)).after == ()
    other.execute("ROLLBACK")
    other.close()
    await hot.ping()
    turn = await hot.read_turn(ALICE, ids(nodes[:1]), enough=1)
    assert ids(turn.after) == ["m1"]
    assert (await hot.counts(ALICE)).messages == 2
    await asyncio.gather(*hot._cancelled)
    await hot.read_turn(ALICE, ids(nodes), enough=2)
    counting.asked.clear()
    assert ids((await hot.read_turn(ALICE, ids(nodes), enough=2)).nodes) == ["m0", "m1"]
    assert counting.asked == []


async def test_how_much_there_is_is_nearly_known_while_the_store_is_away(
    counting: Any, tmp_path: Path
) -> None:
    switch = Switch(counting)
    journals = [DiskJournal(tmp_path / "journal.db", 2**20)]
    journaled = JournaledStore(switch.store, journals, Telemetry(), probes=(3600.0, 3600.0))
    hot = HotStore(journaled, 2**20)
    await hot.open()
    await hot.read_turn(ALICE, [NodeId("m0")], enough=0)
    await hot.commit(ALICE, record(message("m0", "hi")))
    await hot.insert_passages(ALICE, [passage("p", "text")])
    switch.here = False
    assert await hot.counts(ALICE) == Counts(1, 0)
    with pytest.raises(StoreAway):
        await hot.counts(BOB)
    switch.here = True
    assert await journaled.come_back()
    assert await hot.counts(ALICE) == Counts(1, 1)
    await hot.close()


async def test_others_are_told_of_a_write_that_was_still_open_at_the_end(
    counting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a store that never answers it is kept in a journal, and stored some day."""
    monkeypatch.setattr(hot_module, "LAST_SECONDS", 0.01)
    switch, told = Switch(counting), SilentLog()
    journals = [DiskJournal(tmp_path / "journal.db", 2**20)]
    journaled = JournaledStore(switch.store, journals, Telemetry(), last=0.01)
    hot = HotStore(journaled, 2**20, told)
    await hot.open()
    await hot.read_turn(ALICE, [NodeId("m0")], enough=0)
    switch.hangs = True
    commit = asyncio.get_running_loop().create_task(hot.commit(ALICE, record(message("m0", "hi"))))
    await asyncio.sleep(0.01)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    async with asyncio.timeout(10):
        await hot.close()
    assert told.changes == [(ALICE, Uncertain())]


async def test_of_a_large_namespace_the_conversations_used_last_stay(counting: Any) -> None:
    hot, states = HotStore(counting, 100_000), [queue("m0", start=0)]
    opened = [branch(["hi", "x" * 500], prefix=f"{number}m") for number in range(60)]
    for nodes in opened:
        await hot.read_turn(ALICE, ids(nodes[:1]), enough=0)
        await hot.commit(ALICE, record(*nodes, queues=states))
        await hot.read_turn(ALICE, ids(opened[0]), enough=2)
    counting.asked.clear()
    for nodes in (opened[0], *opened[-5:]):
        assert (await hot.read_turn(ALICE, ids(nodes), enough=2)).nodes == tuple(nodes)
    assert counting.asked == []
    assert (await hot.read_turn(ALICE, ids(opened[1]), enough=2)).nodes == tuple(opened[1])
    assert counting.asked == ["read_turn"]


async def test_a_beginning_that_many_share_stays(counting: Any) -> None:
    hot, first = HotStore(counting, 200_000), message("first", "hi")
    await hot.read_turn(ALICE, ids([first]), enough=0)
    await hot.commit(ALICE, record(first))
    nodes = [
        message(f"n{number}", "x" * 500, parent=first.id, depth=1, created=EPOCH + number)
        for number in range(1, 150)
    ]
    counting.asked.clear()
    for node in nodes:
        turn = await hot.read_turn(ALICE, ids([first, node]), enough=1)
        assert (turn.known, turn.nodes) == (1, (first,))
        await hot.commit(ALICE, record(node))
    assert set(counting.asked) == {"commit"}
    turn = await hot.read_turn(ALICE, ids([first, nodes[0]]), enough=2)
    assert (turn.known, turn.nodes) == (2, (first, nodes[0]))
    assert counting.asked[-1] == "read_turn"


async def test_what_more_messages_follow_than_are_read_is_remembered(counting: Any) -> None:
    first = message("first", "hi")
    nodes = [
        message(f"n{number}", "again", parent=first.id, depth=1, created=EPOCH + number)
        for number in range(1, MOST_AFTER + 9)
    ]
    await counting.commit(ALICE, record(first, *nodes))
    hot = HotStore(counting, 2**20)
    newest = tuple(reversed(nodes))[:MOST_AFTER]
    asked = ids([first, message("unheard of")])
    assert (await hot.read_turn(ALICE, asked, enough=1)).after == newest
    counting.asked.clear()
    assert (await hot.read_turn(ALICE, asked, enough=1)).after == newest
    assert await hot.after(ALICE, first.id) == newest
    assert counting.asked == []
    await hot.commit(ALICE, record(nodes[0]))
    assert (await hot.read_turn(ALICE, asked, enough=1)).after == newest
    counting.asked.clear()
    assert (await hot.read_turn(ALICE, ids([first, nodes[0]]), enough=1)).after in ((), newest)
    latest = message("latest", "new", parent=first.id, depth=1, created=EPOCH + 99)
    await hot.commit(ALICE, record(latest))
    assert await hot.after(ALICE, first.id) == (latest, *newest[:-1])
    early = message("early", "late", parent=first.id, depth=1, created=EPOCH + 8.5)
    await hot.commit(ALICE, record(early))
    assert await hot.after(ALICE, first.id) == (latest, *newest[:-1])
    turn = await hot.read_turn(ALICE, ids([first, latest]), enough=1)
    assert (turn.known, turn.nodes) == (2, (first, latest))
    assert await counting.after(ALICE, first.id) == (latest, *newest[:-1])
    assert counting.asked == ["commit", "commit", "after"]


async def test_of_what_was_read_the_newest_stays(counting: Any) -> None:
    """Else what many messages follow is read again with each of them, once there is no room."""
    first = message("first", "hi")
    nodes = [
        message(f"n{number}", "x" * 500, parent=first.id, depth=1, created=EPOCH + number)
        for number in range(70)
    ]
    await counting.commit(ALICE, record(first, *nodes[:50]))
    hot = HotStore(counting, 104_000)
    assert (await hot.read_turn(ALICE, ids([first, nodes[50]]), enough=1)).known == 1
    counting.asked.clear()
    for node in nodes[50:]:
        await hot.commit(ALICE, record(node))
        turn = await hot.read_turn(ALICE, ids([first, message("unheard of")]), enough=1)
        assert turn.after[0] == node
    assert set(counting.asked) == {"commit"}
    await hot.read_turn(ALICE, ids([first, nodes[20]]), enough=1)
    assert counting.asked[-1] == "read_turn"  # there was no room for all of them


async def test_a_read_is_remembered_although_others_write_meanwhile(delayed: Any) -> None:
    """A namespace in which many conversations go on at once is hardly ever at rest."""
    mine, others = branch(["hi", "hello"], "mine"), branch(["good day", "hello"], "others")
    await delayed.commit(ALICE, record(*mine))
    await delayed.commit(ALICE, record(*others))
    hot, delayed.go = HotStore(delayed, 2**20), asyncio.Event()
    delayed.entered.set()
    await hot.read_turn(ALICE, ids(others), enough=2)
    delayed.entered.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(hot.read_turn(ALICE, ids(mine), enough=2))
        await delayed.entered.wait()
        more = message("more", "and?", parent=others[-1].id, depth=2, created=EPOCH + 2)
        await hot.commit(ALICE, record(more))
        await hot.write_context(ALICE, 0, "Name: Chad", NodeId("m0"), NO_TURN)
        delayed.go.set()
        await reading
    delayed.asked.clear()
    turn = await hot.read_turn(ALICE, ids(mine), enough=2)
    assert (turn.nodes, turn.after, turn.context.content) == (tuple(mine), (), "Name: Chad")
    assert await hot.after(ALICE, others[-1].id) == (more,)
    assert (await hot.counts(ALICE)).messages == 5
    assert delayed.asked == []
