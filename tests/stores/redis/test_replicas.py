"""Several replicas over one store and one Redis, whatever becomes of that one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import StaleVersion, Store, StoreUnavailable
from memgpt_proxy.stores.records import (
    ROOT,
    Conversation,
    Fork,
    Namespace,
    Node,
    NodeId,
    TurnId,
    TurnState,
)
from memgpt_proxy.stores.redis import RedisLog, connect
from memgpt_proxy.stores.redis import circuit as circuits
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import ALICE, BOB, EPOCH, passage, queue, record, said_after
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(300)]

Answer = TypeVar("Answer")

REPLICAS = 3
REPLICA = st.integers(0, REPLICAS - 1)
SPACE = st.sampled_from([ALICE, ALICE, ALICE, BOB])
WORD = st.sampled_from("ab")
TURN = st.sampled_from([TurnId(""), TurnId("s"), TurnId("t")])
RARELY = st.sampled_from([False, False, False, True])
NAME = NodeId("name")


class Replicas(RuleBasedStateMachine):
    """Each replica has a connection of its own; answers are those of a plain reader of the file.

    An id is the words from the root on, as a hash over them would be.
    """

    server: ClassVar[RedisServer]

    @initialize(size=st.sampled_from([2**20, 2**20, 12_000]))
    def open(self, size: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "memory.db"
        self.runner = asyncio.Runner()
        self.up = True
        self.server.ask("FLUSHALL")
        self.plain = SqliteStore(path)
        self.behind = [SqliteStore(path) for _ in range(REPLICAS)]
        self.connections = [connect(self.server.url) for _ in range(REPLICAS)]
        logs = [RedisLog(connection) for connection in self.connections]
        self.replicas = [
            HotStore(store, size, log) for store, log in zip(self.behind, logs, strict=True)
        ]
        stores: list[Store] = [self.plain, *self.replicas]
        for store in stores:
            self.runner.run(store.open())
        self.known: dict[Namespace, list[NodeId]] = {ALICE: [], BOB: []}
        self.clock = 0

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            if not self.up:
                self.server.start()
            stores: list[Store] = [*self.replicas, self.plain]
            for store in stores:
                self.runner.run(store.close())
            for connection in self.connections:
                self.runner.run(connection.close())
            self.runner.close()
            self.directory.cleanup()

    def same(self, replica: int, ask: Callable[[Store], Awaitable[Answer]]) -> Answer:
        async def asked() -> tuple[Answer, Answer]:
            return await ask(self.replicas[replica]), await ask(self.plain)

        hot, plain = self.runner.run(asked())
        assert hot == plain
        return hot

    def read(self, replica: int, space: Namespace, chain: list[NodeId]) -> TurnState:
        """Both know all that is known, and say the same of it."""

        async def asked() -> tuple[TurnState, TurnState]:
            hot = await self.replicas[replica].read_turn(space, chain, enough=len(chain))
            return hot, await self.plain.read_turn(space, chain, enough=len(chain))

        hot, plain = self.runner.run(asked())
        if hot.nodes and hot.nodes[0].depth > 0:  # only openings are told from their twins
            plain = replace(plain, shared=hot.shared)
        if hot.counts is None and hot.queue is not None:  # no prompt shows them then
            plain = replace(plain, counts=None)
        assert hot == plain
        return hot

    def some(self, data: st.DataObject, space: Namespace) -> Node | None:
        """A known message, most often one of the last, or None."""
        names = [*self.known[space][:-4:-1], *self.known[space], None]
        name = data.draw(st.sampled_from(names))
        return self.runner.run(self.plain.path(space, name, 1))[0] if name else None

    def chain(self, space: Namespace, last: Node | None) -> list[NodeId]:
        """The keys up to a message."""
        path = self.runner.run(self.plain.path(space, last.id, 99)) if last else ()
        return [node.key for node in path]

    def child(self, parent: Node | None, word: str, **changes: object) -> Node:
        self.clock += 1
        return said_after(parent, word, EPOCH + self.clock, **changes)

    def commit(self, replica: int, space: Namespace, *nodes: Node, **changes: object) -> None:
        made = record(*nodes, **changes)
        self.runner.run(self.replicas[replica].commit(space, made))
        self.known[space] += [node.id for node in nodes if node.id not in self.known[space]]

    @rule(
        replica=REPLICA,
        space=SPACE,
        data=st.data(),
        words=st.lists(WORD, min_size=1, max_size=2),
        turn=TURN,
        named=st.booleans(),
        whole=st.booleans(),
        flush=st.sampled_from([0, 0, 1, 2]),
    )
    def turn(
        self,
        replica: int,
        space: Namespace,
        data: st.DataObject,
        words: list[str],
        turn: TurnId,
        flush: int,
        *,
        named: bool,
        whole: bool,
    ) -> None:
        """Read, commit what hangs on a message, perhaps flush; then another replica goes on."""
        last = self.some(data, space)
        asked = [*self.chain(space, last), NodeId(f"{last.key if last else ''}{words[0]}")]
        self.read(replica, space, asked)
        nodes: list[Node] = []
        for word in words:
            last = self.child(last, word, turn=turn, complete=whole, entries=f'["{self.clock}"]')
            nodes.append(last)
        states = [queue(nodes[0].id, start=0)] if nodes[0].depth == 0 else []
        if 0 < flush <= nodes[-1].depth:
            states.append(queue(nodes[-1].id, start=flush, summary=f"at {self.clock}"))
        conversation = Conversation(NAME, nodes[-1].id, whole) if named else None
        self.commit(replica, space, *nodes, queues=states, conversation=conversation)
        for each in (replica, data.draw(REPLICA)):
            self.read(each, space, [*asked, *(node.key for node in nodes[1:])])

    @rule(replica=REPLICA, space=SPACE, data=st.data())
    def look(self, replica: int, space: Namespace, data: st.DataObject) -> None:
        """A named turn reads the conversation first."""
        self.same(replica, lambda store: store.conversation(space, NAME))
        self.read(replica, space, self.chain(space, self.some(data, space)))

    @rule(replica=REPLICA, space=SPACE, data=st.data())
    def one_turn(self, replica: int, space: Namespace, data: st.DataObject) -> None:
        """What a turn reads beside, it reads as it is."""
        last = self.some(data, space)
        chain = self.chain(space, last)
        name = last.id if last else NodeId("nobody")

        async def asked(store: Store) -> object:
            found = await store.conversation(space, NAME)
            state = await store.read_turn(space, chain, enough=len(chain))
            return (
                *(found, state.nodes, state.after, state.queue),
                *(await store.path(space, name, 3), await store.after(space, name)),
                *(await store.context(space), await store.counts(space)),
            )

        self.same(replica, asked)

    @rule(replica=REPLICA, space=SPACE, data=st.data(), rarely=RARELY)
    def fork(self, replica: int, space: Namespace, data: st.DataObject, *, rarely: bool) -> None:
        if not rarely or not self.known[space]:
            return
        names = st.lists(st.sampled_from(self.known[space]), max_size=2)
        up = self.some(data, space)
        fork = Fork(tuple(data.draw(names)), tuple(data.draw(names)), up.id if up else None)
        self.commit(replica, space, fork=fork)

    @rule(replica=REPLICA, space=SPACE, text=st.sampled_from(["one", "two"]))
    def edit(self, replica: int, space: Namespace, text: str) -> None:
        """An edit is made on what is there, or refused; then it is made again."""

        async def write() -> None:
            store = self.replicas[replica]
            for _ in range(2):
                version = (await store.context(space)).version
                try:
                    await store.write_context(space, version, text, ROOT, TurnId("t"))
                except StaleVersion:
                    continue
                return
            raise AssertionError("refused twice")

        self.runner.run(write())

    @rule(replica=REPLICA, space=SPACE, name=st.sampled_from("pq"), turn=TURN, hide=st.booleans())
    def archive(
        self, replica: int, space: Namespace, name: str, turn: TurnId, *, hide: bool
    ) -> None:
        store = self.replicas[replica]
        if hide:
            self.runner.run(store.hide_passages(space, [turn]))
        else:
            inserted = [passage(name, f"text {name}", turn=turn)]
            self.runner.run(store.insert_passages(space, inserted))

    @rule(replica=REPLICA, space=SPACE)
    def search(self, replica: int, space: Namespace) -> None:
        start = datetime.fromtimestamp(EPOCH, UTC)
        end = start + timedelta(days=1)
        self.same(replica, lambda store: store.search_messages(space, "text", limit=9, offset=0))
        self.same(
            replica, lambda store: store.messages_between(space, start, end, limit=9, offset=0)
        )
        self.same(
            replica, lambda store: store.passages_between(space, start, end, limit=9, offset=0)
        )

    @rule(space=SPACE, data=st.data(), replicas=st.lists(REPLICA, min_size=2, max_size=4))
    def race(self, space: Namespace, data: st.DataObject, replicas: list[int]) -> None:
        """Turns at once, on several replicas, that may write the same records; callers leave."""
        last = self.some(data, space)
        words, turns = data.draw(st.lists(WORD, min_size=4, max_size=4)), ["s", "t", "s", "t"]
        leaves = data.draw(st.sampled_from([None, None, 0]))
        chain = self.chain(space, last)

        async def one(number: int, replica: int) -> None:
            store = self.replicas[replica]
            await store.read_turn(space, chain, enough=len(chain))
            node = self.child(last, words[number], turn=TurnId(turns[number]))
            conversation = Conversation(NAME, node.id, resends=bool(number % 2))
            await store.commit(space, record(node, conversation=conversation))

        async def raced() -> None:
            loop = asyncio.get_running_loop()
            running = [loop.create_task(one(*each)) for each in enumerate(replicas)]
            if leaves is not None:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running[-1].cancel()
            await asyncio.wait(running)
            for store in self.replicas:
                await asyncio.gather(*store._cancelled)

        self.runner.run(raced())
        for word in words[: len(replicas)]:
            name = NodeId(f"{last.id if last else ''}{word}")
            for each in range(REPLICAS):
                self.read(each, space, [*chain, name])
                self.same(each, lambda store: store.conversation(space, NAME))
            # What a caller that left has written may be there or not; what is drawn from may not.
            if not self.runner.run(self.plain.path(space, name, 1)):
                self.commit(replicas[0], space, self.child(last, word))
            elif name not in self.known[space]:
                self.known[space].append(name)

    @rule(replica=REPLICA, space=SPACE, data=st.data(), rarely=RARELY)
    def erase(self, replica: int, space: Namespace, data: st.DataObject, *, rarely: bool) -> None:
        """All forget a memory; where Redis is away, once they have heard of it."""
        if not rarely:
            return
        with nullcontext() if self.up else pytest.raises(StoreUnavailable):
            self.runner.run(self.replicas[replica].erase(space))
        chain, self.known[space] = self.known[space][-1:], []
        if self.up:
            for each in range(REPLICAS):
                self.read(each, space, chain)
                self.same(each, lambda store: store.context(space))

    @rule(space=SPACE, replicas=st.lists(REPLICA, min_size=2, max_size=3), edits=st.booleans())
    def erase_amid_writes(self, space: Namespace, replicas: list[int], *, edits: bool) -> None:
        """What others write meanwhile is there for all, or for none."""
        eraser, *writers = replicas
        nodes = [self.child(None, word) for word in "ab"]

        async def write(number: int, replica: int) -> None:
            store = self.replicas[replica]
            version = (await store.context(space)).version
            if edits:
                with suppress(StaleVersion):
                    await store.write_context(space, version, "amid", ROOT, TurnId("t"))
            else:
                await store.commit(space, record(nodes[number]))

        async def at_once() -> None:
            async with asyncio.TaskGroup() as group:
                for number, replica in enumerate(writers):
                    group.create_task(write(number, replica))
                group.create_task(self.replicas[eraser].erase(space))

        if not self.up:
            return
        self.runner.run(at_once())
        for each in range(REPLICAS):
            for node in nodes:
                self.read(each, space, [node.id])
            self.same(each, lambda store: store.context(space))
        self.runner.run(self.replicas[eraser].erase(space))  # what is there was for time to say
        self.known[space] = []

    @rule(replica=REPLICA)
    def restart_a_replica(self, replica: int) -> None:
        """What it could not tell others before it ended, they hear of when Redis is back."""
        if self.up:
            log = RedisLog(self.connections[replica])
            self.runner.run(self.replicas[replica].ping())
            self.replicas[replica] = HotStore(self.behind[replica], 2**20, log)

    @rule(space=SPACE, lose=st.sampled_from(["FLUSHALL", "XTRIM", "PEXPIRE"]))
    def lose(self, space: Namespace, lose: str) -> None:
        """Redis forgets, all at once or one log."""
        if self.up:
            key = f"memgpt:log:{{{owner_of(space)}}}"
            how = {"FLUSHALL": [], "XTRIM": [key, "MAXLEN", "1"], "PEXPIRE": [key, "1"]}[lose]
            self.server.ask(lose, *how)

    @rule(rarely=RARELY)
    def redis_goes(self, *, rarely: bool) -> None:
        if self.up and rarely:
            self.runner.run(asyncio.to_thread(self.server.kill))
            self.up = False

    @rule()
    def redis_comes(self) -> None:
        """Every replica is heard again before it is asked: it may have told nobody so far."""
        if not self.up:
            self.server.start()
            self.up = True
            for store in self.replicas:
                self.runner.run(store.ping())


def test_every_replica_answers_as_the_store_does(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(circuits, "LONGEST_PAUSE", 0.0)
    Replicas.server = shared_redis
    Replicas.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
    Replicas.TestCase("runTest").debug()
