"""Replicas with journals over one store and one Redis: all hear of what is stored late."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journal import Journal
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import (
    ROOT,
    Conversation,
    Counts,
    Fork,
    Node,
    NodeId,
    TurnId,
)
from memgpt_proxy.stores.redis import RedisLog, connect
from memgpt_proxy.stores.redis import circuit as circuits
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, EPOCH, branch, passage, queue, record, said_after
from tests.stores.switched import Switch
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(300)]

REPLICAS = 2
REPLICA = st.integers(0, REPLICAS - 1)
WORD = st.sampled_from("ab")
TURN = st.sampled_from([TurnId(""), TurnId("s"), TurnId("t")])
NAME = NodeId("name")
NEVER = (3600.0, 3600.0)
LEASE = 0.02
DEADLINE = 10.0


class Replica:
    """One with two journals: that of all in Redis, and where it is full, its own on disk."""

    def __init__(self, directory: Path, number: int, url: str, bound: int = 2**20) -> None:
        self.redis = connect(url)
        self.switch = Switch(SqliteStore(directory / "memory.db"), opens=True)
        journals: list[Journal] = [
            RedisJournal(self.redis, bound, lease=LEASE),
            DiskJournal(directory / f"journal{number}.db", 2**20),
        ]
        self.journaled = JournaledStore(self.switch.store, journals, Telemetry(), probes=NEVER)
        self.hot = HotStore(self.journaled, 2**20, RedisLog(self.redis))
        self.journaled.tell(self.hot.stored_late)

    async def all_stored(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while not await self.journaled.come_back():
                """Another's lease has to end."""

    async def close(self) -> None:
        await self.hot.close()
        await self.redis.close()


class Replicas(RuleBasedStateMachine):
    """The store is away for each by itself; an id is the words from the root on."""

    server: ClassVar[RedisServer]

    @initialize(bound=st.sampled_from([2**20, 600]))
    def open(self, bound: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.server.ask("FLUSHALL")
        path = Path(self.directory.name)
        self.plain = SqliteStore(path / "memory.db")
        self.replicas = [
            Replica(path, number, self.server.url, bound) for number in range(REPLICAS)
        ]
        self.runner.run(self.plain.open())
        for replica in self.replicas:
            self.runner.run(replica.hot.open())
        self.nodes: dict[NodeId, Node] = {}
        self.clock = 0

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.settle()
        finally:
            for replica in self.replicas:
                self.runner.run(replica.close())
            self.runner.run(self.plain.close())
            self.runner.close()
            self.directory.cleanup()

    def some(self, data: st.DataObject) -> Node | None:
        """A message, most often one of the last, or None."""
        name = data.draw(st.sampled_from([*list(self.nodes)[:-4:-1], *self.nodes, None]))
        return self.nodes[name] if name else None

    def chain(self, last: Node | None) -> list[NodeId]:
        """The names up to a message."""
        return [NodeId(last.id[: end + 1]) for end in range(len(last.id))] if last else []

    def child(self, parent: Node | None, word: str, **changes: object) -> Node:
        self.clock += 1
        return said_after(parent, word, EPOCH + self.clock, **changes)

    async def read(self, replica: int, chain: list[NodeId]) -> None:
        """Have a replica remember something, if its store is there."""
        hot = self.replicas[replica].hot
        with suppress(StoreError):
            await hot.conversation(ALICE, NAME)
            await hot.read_turn(ALICE, chain, enough=len(chain))
            await hot.counts(ALICE)

    @rule(
        replica=REPLICA,
        data=st.data(),
        words=st.lists(WORD, min_size=1, max_size=2),
        turn=TURN,
        named=st.booleans(),
        whole=st.booleans(),
        flush=st.sampled_from([0, 0, 1]),
    )
    def turn(
        self,
        replica: int,
        data: st.DataObject,
        words: list[str],
        turn: TurnId,
        flush: int,
        *,
        named: bool,
        whole: bool,
    ) -> None:
        """Read, then commit what hangs on a message, and perhaps flush."""
        last = self.some(data)
        asked = [*self.chain(last), NodeId(f"{last.id if last else ''}{words[0]}")]
        self.runner.run(self.read(replica, asked))
        nodes: list[Node] = []
        for word in words:
            last = self.child(last, word, turn=turn, complete=whole, entries=f'["{self.clock}"]')
            nodes.append(last)
        states = [queue(nodes[0].id, start=0)] if nodes[0].depth == 0 else []
        if 0 < flush <= nodes[-1].depth:
            states.append(queue(nodes[-1].id, start=flush, summary=f"at {self.clock}"))
        conversation = Conversation(NAME, nodes[-1].id, whole) if named else None
        made = record(*nodes, queues=states, conversation=conversation, created=EPOCH + self.clock)
        self.runner.run(self.replicas[replica].hot.commit(ALICE, made))
        for node in nodes:
            self.nodes.setdefault(node.id, node)

    @rule(replica=REPLICA, data=st.data())
    def look(self, replica: int, data: st.DataObject) -> None:
        self.runner.run(self.read(replica, self.chain(self.some(data))))

    @rule(replica=REPLICA, data=st.data())
    def fork(self, replica: int, data: st.DataObject) -> None:
        if not self.nodes:
            return
        names = st.lists(st.sampled_from(list(self.nodes)), max_size=2)
        up = self.some(data)
        fork = Fork(tuple(data.draw(names)), tuple(data.draw(names)), up.id if up else None)
        self.clock += 1
        made = record(fork=fork, created=EPOCH + self.clock)
        self.runner.run(self.replicas[replica].hot.commit(ALICE, made))

    @rule(replica=REPLICA, text=st.sampled_from(["one", "two"]))
    def edit(self, replica: int, text: str) -> None:
        """An edit does not wait for a store that is away."""
        hot = self.replicas[replica].hot

        async def write() -> None:
            with suppress(StoreError):
                version = (await hot.context(ALICE)).version
                await hot.write_context(ALICE, version, text, ROOT, TurnId("t"))

        self.runner.run(write())

    @rule(replica=REPLICA, name=st.sampled_from("pq"), turn=TURN, hide=st.booleans())
    def archive(self, replica: int, name: str, turn: TurnId, *, hide: bool) -> None:
        hot = self.replicas[replica].hot
        if hide:
            self.runner.run(hot.hide_passages(ALICE, [turn]))
        else:
            inserted = [passage(name, f"text {name}", turn=turn)]
            self.runner.run(hot.insert_passages(ALICE, inserted))

    @rule(replica=REPLICA, here=st.booleans(), answers=st.booleans())
    def switch_store(self, replica: int, *, here: bool, answers: bool) -> None:
        switch = self.replicas[replica].switch
        switch.here, switch.answers = here, answers

    @rule(replica=REPLICA)
    def come_back(self, replica: int) -> None:
        self.runner.run(self.replicas[replica].journaled.come_back())

    @rule()
    def settle(self) -> None:
        """Once nothing waits, every replica answers as the store does."""
        for replica in self.replicas:
            replica.switch.here = replica.switch.answers = True
        for replica in self.replicas:
            self.runner.run(replica.all_stored())
        for replica in self.replicas:
            for last in [None, *list(self.nodes.values())[-6:]]:
                self.runner.run(self.compare(replica.hot, self.chain(last)))

    async def compare(self, hot: HotStore, chain: list[NodeId]) -> None:
        assert await hot.conversation(ALICE, NAME) == await self.plain.conversation(ALICE, NAME)
        turn = await hot.read_turn(ALICE, chain, enough=len(chain))
        plain = await self.plain.read_turn(ALICE, chain, enough=len(chain))
        if turn.nodes and turn.nodes[0].depth > 0:  # only openings are told from their twins
            plain = replace(plain, shared=turn.shared)
        if turn.counts is None and turn.queue is not None:  # no prompt shows them then
            plain = replace(plain, counts=None)
        assert turn == plain
        assert await hot.context(ALICE) == await self.plain.context(ALICE)
        assert await hot.counts(ALICE) == await self.plain.counts(ALICE)


def test_once_nothing_waits_every_replica_answers_as_the_store_does(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(circuits, "LONGEST_PAUSE", 0.0)
    Replicas.server = shared_redis
    Replicas.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
    Replicas.TestCase("runTest").debug()


@pytest.fixture
async def replicas(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[list[Replica]]:
    opened = [Replica(tmp_path, number, redis_server.url) for number in range(REPLICAS)]
    for replica in opened:
        await replica.hot.open()
    yield opened
    for replica in opened:
        await replica.close()


async def test_what_is_stored_late_is_heard_of_by_who_has_read_without_it(
    replicas: list[Replica],
) -> None:
    here, there = replicas
    nodes = branch(["hello", "hi", "how are you", "fine"])
    early = Conversation(NAME, nodes[1].id, resends=False)
    late = Conversation(NAME, nodes[3].id, resends=False)
    await here.hot.commit(ALICE, record(*nodes[:2], conversation=early, created=EPOCH))
    here.switch.here = False
    await here.hot.commit(ALICE, record(*nodes[2:], conversation=late, created=EPOCH + 1))
    await here.hot.insert_passages(ALICE, [passage("p", "kept")])
    assert await there.hot.conversation(ALICE, NAME) == early
    turn = await there.hot.read_turn(ALICE, [nodes[1].id], enough=1)
    assert (turn.after, turn.counts) == ((), Counts(messages=2, passages=0))
    here.switch.here = True
    await here.all_stored()
    assert await there.hot.conversation(ALICE, NAME) == late
    turn = await there.hot.read_turn(ALICE, [nodes[1].id], enough=1)
    assert turn.after == tuple(nodes[2:])
    assert await there.hot.counts(ALICE) == Counts(messages=4, passages=1)
