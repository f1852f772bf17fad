"""Replicas hear of each other through a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.stores import following
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import Store, StoreUnavailable
from memgpt_proxy.stores.records import NO_TURN, Conversation, Namespace, NodeId, TurnRecord
from memgpt_proxy.stores.redis import RedisLog, RedisUnavailable, connect
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, BOB, branch, ids, message, queue, record
from tests.support.process import free_port
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.redis

NAME = NodeId("name")


class Telling:
    """The store itself, with what was asked of it; its commits may fail midway."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[str] = []
        self.breaks = False

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._store, name)

    def alone(self, *, alone: bool) -> None:
        self.asked.append(f"alone {alone}")

    async def commit(self, namespace: Namespace, made: TurnRecord) -> None:
        self.asked.append("commit")
        await self._store.commit(namespace, made)
        if self.breaks:
            raise StoreUnavailable("gone before it could say so")


class Cut:
    """The log itself, on a line that can be cut."""

    def __init__(self, log: RedisLog) -> None:
        self._log = log
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        if self.cut:
            raise RedisUnavailable("cut")
        return getattr(self._log, name)


class Replica:
    """One of two replicas: its store, its log and the hot state over them."""

    def __init__(self, path: Path, url: str) -> None:
        self.connection = connect(url)
        self.store = Telling(SqliteStore(path))
        self.log = Cut(RedisLog(self.connection))
        store: Any = self.store
        self.hot = HotStore(store, 2**20, self.log)

    def asked(self) -> list[str]:
        """What was asked of the store since the last time."""
        asked, self.store.asked = self.store.asked, []
        return asked


@pytest.fixture
async def replicas(
    redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[tuple[Replica, Replica]]:
    ours, others = (Replica(tmp_path / "memory.db", redis_server.url) for _ in range(2))
    for replica in (ours, others):
        await replica.hot.open()
    yield ours, others
    for replica in (ours, others):
        await replica.hot.close()
        await replica.connection.close()


def conversation(*texts: str) -> list[Any]:
    return [replace(node, queue=NodeId("m0")) for node in branch(texts)]


async def scripts_run(replica: Replica) -> int:
    stats = await replica.connection.execute("INFO", "commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


async def test_a_warm_turn_reads_redis_once_and_the_store_never(
    replicas: tuple[Replica, Replica],
) -> None:
    ours, others = replicas
    nodes = conversation("hi", "hello", "how are you?", "fine")
    tip = Conversation(NAME, NodeId("m1"), resends=False)
    await ours.hot.read_turn(ALICE, ids(nodes[:1]), enough=0)
    made = record(*nodes[:2], queues=[queue("m0", 0)], conversation=tip)
    await ours.hot.commit(ALICE, made)
    await others.hot.read_turn(ALICE, ids(nodes[:2]), enough=2)
    await others.hot.commit(ALICE, record(*nodes[2:], conversation=replace(tip, tip=NodeId("m3"))))
    await others.hot.write_context(ALICE, 0, "Name: Chad", NodeId("m3"), NO_TURN)
    for _ in range(2):  # Redis knows the script after that
        await ours.hot.read_turn(BOB, [], enough=0)
    ours.asked()
    before = await scripts_run(ours)
    turn = await ours.hot.read_turn(ALICE, ids(nodes), enough=4)
    assert (turn.nodes, turn.context.content) == (tuple(nodes), "Name: Chad")
    assert await ours.hot.context(ALICE) == turn.context
    assert await ours.hot.after(ALICE, NodeId("m1")) == tuple(nodes[2:])
    assert await scripts_run(ours) == before + 1
    found = await ours.hot.conversation(ALICE, NAME)
    assert found is not None
    assert await ours.hot.path(ALICE, found.tip, 4) == tuple(nodes)
    assert (await ours.hot.read_turn(ALICE, [found.tip], enough=1)).nodes == tuple(nodes)
    assert await scripts_run(ours) == before + 2
    assert ours.asked() == ["changed_elsewhere"]


async def test_a_search_hears_of_what_others_have_just_written(
    replicas: tuple[Replica, Replica],
) -> None:
    ours, others = replicas
    await ours.hot.search_messages(ALICE, "hi", limit=9, offset=0)
    ours.asked()
    await ours.hot.search_messages(ALICE, "hi", limit=9, offset=0)
    assert ours.asked() == ["search_messages"]
    await others.hot.commit(ALICE, record(message("m0", "hi")))
    await ours.hot.search_messages(ALICE, "hi", limit=9, offset=0)
    assert ours.asked() == ["changed_elsewhere", "search_messages"]


async def test_own_writes_are_not_heard_of_again(replicas: tuple[Replica, Replica]) -> None:
    ours, _ = replicas
    nodes = conversation("hi", "hello", "again")
    await ours.hot.read_turn(ALICE, ids(nodes[:1]), enough=0)
    await ours.hot.commit(ALICE, record(*nodes[:2], queues=[queue("m0", 0)]))
    await ours.hot.commit(ALICE, record(nodes[2]))
    ours.asked()
    assert (await ours.hot.read_turn(ALICE, ids(nodes), enough=3)).nodes == tuple(nodes)
    assert (await ours.hot.counts(ALICE)).messages == 3
    assert ours.asked() == []


async def test_turns_at_once_on_two_replicas_stay_warm(replicas: tuple[Replica, Replica]) -> None:
    """Changes of different records can be told in any order."""
    ours, others = replicas
    one, two = branch(["hi"], prefix="one"), branch(["hi"], prefix="two")
    for replica in replicas:
        await replica.hot.read_turn(ALICE, ids(one), enough=0)
        await replica.hot.read_turn(ALICE, ids(two), enough=0)
    await asyncio.gather(
        ours.hot.commit(ALICE, record(*one)), others.hot.commit(ALICE, record(*two))
    )
    for replica in replicas:
        replica.asked()
        for nodes in (one, two):
            turn = await replica.hot.read_turn(ALICE, ids(nodes), enough=1)
            assert turn.nodes == tuple(nodes)
        assert set(replica.asked()) <= {"changed_elsewhere", "counts"}


async def test_who_was_cut_off_tells_others_what_they_have_missed(
    replicas: tuple[Replica, Replica],
) -> None:
    ours, others = replicas
    nodes = conversation("hi", "hello")
    for replica in replicas:
        await replica.hot.read_turn(ALICE, ids(nodes), enough=0)
    ours.asked()
    ours.log.cut = True
    await ours.hot.commit(ALICE, record(*nodes, queues=[queue("m0", 0)]))
    assert ours.asked() == ["commit", "alone True"]
    for _ in range(2):
        turn = await ours.hot.read_turn(ALICE, ids(nodes), enough=2)
        assert turn.nodes == tuple(nodes)
        assert ours.asked() == ["read_turn"]
    ours.log.cut = False
    await ours.hot.ping()
    assert ours.asked()[-1] == "alone False"
    assert (await others.hot.read_turn(ALICE, ids(nodes), enough=0)).known == 2
    await ours.hot.read_turn(ALICE, ids(nodes), enough=2)
    ours.asked()
    await ours.hot.read_turn(ALICE, ids(nodes), enough=2)
    assert ours.asked() == []


async def test_what_others_have_missed_is_bounded(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_MISSED", 2)
    ours, others = replicas
    spaces = [Namespace(str(number)) for number in range(5)]
    nodes = conversation("hi", "hello")
    for space in spaces:
        await others.hot.read_turn(space, ids(nodes), enough=0)
    ours.log.cut = True
    for space in spaces:
        await ours.hot.commit(space, record(*nodes))
    ours.log.cut = False
    await ours.hot.read_turn(BOB, [], enough=0)
    for space in spaces:
        assert (await others.hot.read_turn(space, ids(nodes), enough=0)).known == 2


async def test_a_write_that_broke_off_is_told(replicas: tuple[Replica, Replica]) -> None:
    ours = replicas[0]
    nodes = conversation("hi", "hello")
    for replica in replicas:
        await replica.hot.read_turn(ALICE, ids(nodes), enough=0)
    ours.store.breaks = True
    with pytest.raises(StoreUnavailable):
        await ours.hot.commit(ALICE, record(*nodes))
    for replica in replicas:
        assert (await replica.hot.read_turn(ALICE, ids(nodes), enough=0)).known == 2


async def test_without_redis_everything_is_in_the_store(redis_binary: str, tmp_path: Path) -> None:
    replica = Replica(tmp_path / "memory.db", f"redis://127.0.0.1:{free_port()}")
    nodes = conversation("hi", "hello")
    await replica.hot.open()
    await replica.hot.commit(ALICE, record(*nodes))
    for _ in range(2):
        assert (await replica.hot.read_turn(ALICE, ids(nodes), enough=2)).nodes == tuple(nodes)
    assert await replica.hot.conversation(ALICE, NAME) is None
    await replica.hot.ping()
    await replica.hot.close()
    await replica.connection.close()


async def test_places_are_bounded(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_PLACES", 2)
    ours, others = replicas
    spaces = [Namespace(str(number)) for number in range(4)]
    nodes = conversation("hi")
    for space in spaces:
        await ours.hot.read_turn(space, ids(nodes), enough=0)
    for space in spaces:
        await others.hot.commit(space, record(*nodes))
    for space in spaces:
        assert (await ours.hot.read_turn(space, ids(nodes), enough=0)).known == 1
