"""Whatever happens to store and replicas: no acknowledged write is lost, none is there twice."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.journal import Journal
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import ROOT, Conversation, Namespace, NodeId, TurnId
from memgpt_proxy.stores.redis import connect
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, BOB, EPOCH, message, passage, queue, record
from tests.stores.switched import Switch
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

SPACES = st.sampled_from([ALICE, ALICE, BOB])
NAME = NodeId("name")
NEVER = (3600.0, 3600.0)
LEASE = 0.02
DEADLINE = 10.0


class AwayAndBack(RuleBasedStateMachine):
    """Replicas on one store, which goes away; each message is a namespace's next.

    Attributes:
        acknowledged: Of each namespace, what was acknowledged, in order, and by whom.
        uncertain: What may be stored or not: nobody was told.
        shown: Of each passage's turn, whether it is to be seen in the end.
    """

    replicas = 1

    @initialize(bound=st.sampled_from([2**20, 2**20, 4000]))
    def open(self, bound: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.embedded = SqliteStore(Path(self.directory.name) / "memory.db")
        self.switch = Switch(self.embedded)
        self.bound = bound
        self.clock = 0
        self.acknowledged: dict[Namespace, list[tuple[str, int]]] = {ALICE: [], BOB: []}
        self.uncertain: dict[Namespace, set[str]] = {ALICE: set(), BOB: set()}
        self.shown: dict[TurnId, bool] = {}
        self.prepare()
        self.runner.run(self.embedded.open())
        self.stores: list[JournaledStore] = []
        self.journals: list[Journal] = []
        for _ in range(self.replicas):
            store, journal = self.runner.run(self.started())
            self.stores.append(store)
            self.journals.append(journal)

    def prepare(self) -> None:
        """Get what the journals need."""

    def journal(self) -> Journal:
        return DiskJournal(Path(self.directory.name) / "journal.db", self.bound)

    async def started(self) -> tuple[JournaledStore, Journal]:
        journal = self.journal()
        store = JournaledStore(self.switch.store, [journal], Telemetry(), probes=NEVER)
        await store.open()
        return store, journal

    async def kill(self, replica: int) -> None:
        """End it as if its process were gone: nothing that it was about to do is done."""
        store = self.stores[replica]
        tasks = [*store._writing, *([store._watching] if store._watching else [])]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if isinstance(journal := self.journals[replica], DiskJournal):
            await journal.close()  # its thread, which a killed process would take along
        self.stores[replica], self.journals[replica] = await self.started()

    @rule(space=SPACES, replica=st.integers(0, 1))
    def commit(self, space: Namespace, replica: int) -> None:
        replica %= self.replicas
        name, write = self.next_write(space, replica)
        try:
            self.runner.run(write)
        except StoreUnavailable:
            self.uncertain[space].add(name)
        else:
            self.acknowledged[space].append((name, replica))

    def next_write(self, space: Namespace, replica: int):
        self.clock += 1
        before = self.acknowledged[space]
        parent = NodeId(before[-1][0]) if before else ROOT
        node = message(f"m{self.clock}", "text", parent=parent, depth=len(before))
        made = record(
            node,
            queues=[queue(node.id, 0, f"at {node.id}")],
            conversation=Conversation(NAME, node.id, resends=False),
            created=EPOCH + self.clock,
        )
        return node.id, self.stores[replica].commit(space, made)

    @rule(space=SPACES, replica=st.integers(0, 1), steps=st.integers(0, 12), killed=st.booleans())
    def leave(self, space: Namespace, replica: int, steps: int, *, killed: bool) -> None:
        """A caller leaves amid a write, or its process ends."""
        replica %= self.replicas
        name, write = self.next_write(space, replica)

        async def left() -> None:
            writing = asyncio.get_running_loop().create_task(write)
            for _ in range(steps):
                await asyncio.sleep(0)
            if killed:
                await self.kill(replica)
            writing.cancel()
            await asyncio.wait([writing])
            await self.stores[replica]._written()

        self.uncertain[space].add(name)
        self.runner.run(left())

    @rule(turn=st.sampled_from("st"), hidden=st.booleans())
    def archive(self, turn: str, *, hidden: bool) -> None:
        """Insert a passage, and hide or show it: its writes alone are in order: one replica."""
        name, store = TurnId(turn), self.stores[0]

        async def archived() -> None:
            await store.insert_passages(ALICE, [passage(turn, "word", turn=name)])
            change = store.hide_passages if hidden else store.show_passages
            await change(ALICE, [name])

        try:
            self.runner.run(archived())
        except StoreUnavailable:
            self.shown.pop(name, None)
        else:
            self.shown[name] = not hidden

    @rule(here=st.booleans(), answers=st.sampled_from([True, True, False]))
    def switch_store(self, *, here: bool, answers: bool) -> None:
        self.switch.here, self.switch.answers = here, answers

    @rule(replica=st.integers(0, 1))
    def come_back(self, replica: int) -> None:
        self.runner.run(self.stores[replica % self.replicas].come_back())

    @rule(replica=st.integers(0, 1), steps=st.integers(0, 40))
    def die(self, replica: int, steps: int) -> None:
        """End a replica's process amid the draining."""
        replica %= self.replicas

        async def died() -> None:
            back = asyncio.get_running_loop().create_task(self.stores[replica].come_back())
            for _ in range(steps):
                await asyncio.sleep(0)
            back.cancel()
            await asyncio.wait([back])
            await self.kill(replica)

        self.runner.run(died())

    @invariant()
    def what_waits_is_bounded(self) -> None:
        if hasattr(self, "journals"):
            waiting = self.runner.run(self.journals[0].oldest(10**6))
            assert sum(entry.size for entry in waiting) <= self.bound

    async def all_back(self) -> None:
        self.switch.here = self.switch.answers = True
        async with asyncio.timeout(DEADLINE):
            for store in self.stores:
                while not await store.come_back():
                    """Another's lease has to end."""
                assert not store.degraded

    async def check(self, space: Namespace) -> None:
        told = [name for name, _ in self.acknowledged[space]]
        for name in told:
            assert len(await self.embedded.path(space, NodeId(name), 1)) == 1, f"{name} is lost"
            assert (await self.embedded.read_turn(space, [NodeId(name)], enough=1)).queue
        stored = {name for each, name in self.switch.commits if each == space}
        assert set(told) <= stored <= {*told, *self.uncertain[space]}
        assert (await self.embedded.counts(space)).messages == len(stored)
        firsts = list(dict.fromkeys(name for each, name in self.switch.commits if each == space))
        for replica in range(self.replicas):
            mine = [name for name, by in self.acknowledged[space] if by == replica]
            assert [name for name in firsts if name in mine] == mine, "the order has changed"
        if last := max(stored, key=lambda name: int(name[1:]), default=None):
            conversation = await self.embedded.conversation(space, NAME)
            assert conversation is not None
            assert conversation.tip == last, "it went back"

    def teardown(self) -> None:
        if not hasattr(self, "stores"):
            return
        try:
            self.runner.run(self.check_all())
        finally:
            for store in self.stores:
                self.runner.run(store.close())
            self.runner.run(self.embedded.close())
            self.dismiss()
            self.runner.close()
            self.directory.cleanup()

    async def check_all(self) -> None:
        await self.all_back()
        for space in (ALICE, BOB):
            await self.check(space)
        found = await self.embedded.search_passages(ALICE, "word", limit=9, offset=0)
        for turn, shown in self.shown.items():
            assert (turn in {hit.id for hit in found.hits}) == shown

    def dismiss(self) -> None:
        """Let go of what the journals needed."""


STEPS = settings(max_examples=60, stateful_step_count=40, deadline=None)

AwayAndBack.TestCase.settings = STEPS
test_one_replica_with_a_journal_on_disk = AwayAndBack.TestCase


@pytest.mark.redis
@pytest.mark.timeout(300)
def test_two_replicas_with_a_journal_in_redis(redis_server: RedisServer) -> None:
    class Fleet(AwayAndBack):
        replicas = 2

        def prepare(self) -> None:
            self.redis = connect(redis_server.url, prefix=uuid4().hex)

        def journal(self) -> Journal:
            return RedisJournal(self.redis, self.bound, lease=LEASE)

        def dismiss(self) -> None:
            self.runner.run(self.redis.close())

    run_state_machine_as_test(Fleet, settings=STEPS)
