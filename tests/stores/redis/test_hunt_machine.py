"""Replicas with journals over one store and one Redis: once nothing waits, all answer as the store does."""

from __future__ import annotations
import asyncio
import tempfile
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
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import StaleVersion, StoreError
from memgpt_proxy.stores.records import ROOT, ContentId, Conversation, Fork, NodeId, TurnId
from memgpt_proxy.stores.redis import RedisLog, connect
from memgpt_proxy.stores.redis import circuit as circuits
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, BOB, EPOCH, message, passage, queue, record
from tests.stores.switched import Switch
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(900)]
REPLICAS = 2
REPLICA = st.integers(0, REPLICAS - 1)
SPACE = st.just(ALICE)
WORD = st.sampled_from("ab")
TURN = st.sampled_from([TurnId(""), TurnId("s"), TurnId("t")])
NAME = NodeId("name")
NEVER = (3600.0, 3600.0)


class Replicas(RuleBasedStateMachine):
    server: ClassVar[RedisServer]

    @initialize(small=st.booleans())
    def open(self, small: bool) -> None:
        self.directory = tempfile.TemporaryDirectory()
        base = Path(self.directory.name)
        self.runner = asyncio.Runner()
        self.server.ask("FLUSHALL")
        self.plain = SqliteStore(base / "memory.db")
        self.switches, self.journaled, self.replicas, self.connections = [], [], [], []
        self.runner.run(self.plain.open())
        for n in range(REPLICAS):
            redis = connect(self.server.url)
            switch = Switch(SqliteStore(base / "memory.db"), opens=True)
            journals = [
                RedisJournal(redis, 600 if small else 2**20, lease=0.05),
                DiskJournal(base / f"journal{n}.db", 2**20),
            ]
            journaled = JournaledStore(switch.store, journals, Telemetry(), probes=NEVER)
            hot = HotStore(journaled, 2**20, RedisLog(redis))
            journaled.tell(hot.stored_late) if not __import__("os").environ.get("NOTELL") else None
            self.runner.run(hot.open())
            self.switches.append(switch)
            self.journaled.append(journaled)
            self.replicas.append(hot)
            self.connections.append(redis)
        self.nodes = {}
        self.clock = 0

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            for switch in self.switches:
                switch.here = switch.answers = True
            for store in [*self.replicas, self.plain]:
                self.runner.run(store.close())
            for each in self.connections:
                self.runner.run(each.close())
            self.runner.close()
            self.directory.cleanup()

    def chain(self, last):
        names = []
        while last is not None:
            names.append(last.id)
            last = self.nodes.get(last.parent)
        return names[::-1]

    def some(self, data):
        names = [*list(self.nodes)[:-4:-1], *self.nodes, None]
        name = data.draw(st.sampled_from(names))
        return self.nodes[name] if name else None

    def child(self, parent, word, **changes):
        self.clock += 1
        name = NodeId(f"{parent.id if parent else ''}{word}")
        values = {
            "content": ContentId(word),
            "parent": parent.id if parent else ROOT,
            "depth": parent.depth + 1 if parent else 0,
            "queue": parent.queue if parent else name,
            "created": EPOCH + self.clock,
        }
        return message(name, f"text {word}", **{**values, **changes})

    @rule(
        replica=REPLICA,
        data=st.data(),
        words=st.lists(WORD, min_size=1, max_size=2),
        turn=TURN,
        named=st.booleans(),
        whole=st.booleans(),
        flush=st.sampled_from([0, 0, 1]),
    )
    def turn(self, replica, data, words, turn, named, whole, flush):
        last = self.some(data)
        chain = [*self.chain(last), NodeId(f"{last.id if last else ''}{words[0]}")]
        store = self.replicas[replica]

        async def go():
            with suppress(StoreError):
                await store.conversation(ALICE, NAME)
                await store.read_turn(ALICE, chain, enough=len(chain))

        self.runner.run(go())
        nodes, last_ = [], last
        for word in words:
            last_ = self.child(last_, word, turn=turn, complete=whole, entries=f'["{self.clock}"]')
            nodes.append(last_)
        states = [queue(nodes[0].id, start=0)] if nodes[0].depth == 0 else []
        if 0 < flush <= nodes[-1].depth:
            states.append(queue(nodes[-1].id, start=flush, summary=f"at {self.clock}"))
        conversation = Conversation(NAME, nodes[-1].id, whole) if named else None
        made = record(*nodes, queues=states, conversation=conversation, created=EPOCH + self.clock)
        self.runner.run(store.commit(ALICE, made))
        for node in nodes:
            self.nodes.setdefault(node.id, node)

    @rule(replica=REPLICA, data=st.data())
    def look(self, replica, data):
        chain = self.chain(self.some(data))

        async def go():
            with suppress(StoreError):
                await self.replicas[replica].conversation(ALICE, NAME)
                await self.replicas[replica].read_turn(ALICE, chain, enough=len(chain))
                await self.replicas[replica].counts(ALICE)

        self.runner.run(go())

    @rule(replica=REPLICA, data=st.data())
    def fork(self, replica, data):
        if not self.nodes:
            return
        names = st.lists(st.sampled_from(list(self.nodes)), max_size=2)
        up = self.some(data)
        self.clock += 1
        fork = Fork(tuple(data.draw(names)), tuple(data.draw(names)), up.id if up else None)
        self.runner.run(
            self.replicas[replica].commit(ALICE, record(fork=fork, created=EPOCH + self.clock))
        )

    @rule(replica=REPLICA, text=st.sampled_from(["one", "two"]))
    def edit(self, replica, text):
        async def write():
            with suppress(StoreError):
                store = self.replicas[replica]
                version = (await store.context(ALICE)).version
                await store.write_context(ALICE, version, text, ROOT, TurnId("t"))

        self.runner.run(write())

    @rule(replica=REPLICA, name=st.sampled_from("pq"), turn=TURN, hide=st.booleans())
    def archive(self, replica, name, turn, hide):
        store = self.replicas[replica]
        self.runner.run(
            store.hide_passages(ALICE, [turn])
            if hide
            else store.insert_passages(ALICE, [passage(name, f"text {name}", turn=turn)])
        )

    @rule(replica=REPLICA)
    def goes(self, replica):
        self.switches[replica].here = False

    @rule(replica=REPLICA)
    def loses_answers(self, replica):
        self.switches[replica].answers = False

    @rule(replica=REPLICA)
    def comes(self, replica):
        self.switches[replica].here = self.switches[replica].answers = True

    @rule(replica=REPLICA)
    def drains(self, replica):
        self.runner.run(self.journaled[replica].come_back())

    @rule(data=st.data())
    def settle(self, data):
        for switch in self.switches:
            switch.here = switch.answers = True
        for _ in range(5):
            done = [self.runner.run(each.come_back()) for each in self.journaled]
            if all(done):
                break
            self.runner.run(asyncio.sleep(0.06))
        assert all(done)
        for n in range(REPLICAS):
            for last in [None, *list(self.nodes.values())[-6:]]:
                chain = self.chain(last)

                async def asked(store):
                    return (
                        await store.conversation(ALICE, NAME),
                        await store.read_turn(ALICE, chain, enough=len(chain)),
                        await store.context(ALICE),
                        await store.counts(ALICE),
                    )

                async def both():
                    return await asked(self.replicas[n]), await asked(self.plain)

                hot, plain = self.runner.run(both())
                h, p = hot[1], plain[1]
                if h.nodes and h.nodes[0].depth > 0:
                    p = replace(p, shared=h.shared)
                if h.counts is None and h.queue is not None:
                    p = replace(p, counts=None)
                assert (hot[0], h, hot[2], hot[3]) == (plain[0], p, plain[2], plain[3]), n


def test_all_answer_as_the_store_does(shared_redis: RedisServer, monkeypatch) -> None:
    monkeypatch.setattr(circuits, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(circuits, "LONGEST_PAUSE", 0.0)
    Replicas.server = shared_redis
    import os

    Replicas.TestCase.settings = settings(
        max_examples=int(os.environ.get("EX", "60")),
        stateful_step_count=25,
        deadline=None,
        print_blob=True,
    )
    Replicas.TestCase("runTest").debug()
