"""Whatever was done, the hot state answers as the store behind it does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import StaleVersion, Store
from memgpt_proxy.stores.records import (
    MOST_AFTER,
    ROOT,
    ContentId,
    Conversation,
    Fork,
    Namespace,
    Node,
    NodeId,
    TurnId,
    TurnState,
)
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, BOB, EPOCH, message, passage, queue, record

pytestmark = pytest.mark.slow

Answer = TypeVar("Answer")

SPACES = st.sampled_from([ALICE, ALICE, ALICE, BOB])
RARELY = st.sampled_from([False, False, False, True])
MOSTLY = st.sampled_from([True, True, True, True, False])
WORDS = st.sampled_from("abc")
TURNS = [TurnId(""), TurnId("s"), TurnId("t")]
NAME = NodeId("name")


class SideBySide(RuleBasedStateMachine):
    """A store with hot state, and another reader of the same file.

    An id is the words from the root on, as a hash over them would be; that of a twin has a
    number in it, which its key has not. A key may also be one that nobody foresaw.
    """

    @initialize(size=st.sampled_from([2**20, 2**20, 2**20, 100_000, 30_000, 12_000, 1]))
    def open(self, size: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "memory.db"
        self.runner = asyncio.Runner()
        self.size = size
        self.plain = SqliteStore(path)
        self.behind = SqliteStore(path)
        self.hot = HotStore(self.behind, size)
        self.runner.run(self.behind.open())
        self.runner.run(self.plain.open())
        self.known: dict[Namespace, list[NodeId]] = {ALICE: [], BOB: []}
        self.clock = 0

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.hot.close())
            self.runner.run(self.plain.close())
            self.runner.close()
            self.directory.cleanup()

    def same(self, ask: Callable[[Store], Awaitable[Answer]]) -> Answer:
        async def asked() -> tuple[Answer, Answer]:
            return await ask(self.hot), await ask(self.plain)

        hot, plain = self.runner.run(asked())
        assert hot == plain
        return hot

    def read(self, space: Namespace, chain: list[NodeId], enough: int) -> TurnState:
        """Both know at least what is enough, if that is known at all, and say the same of it."""

        async def asked() -> tuple[TurnState, TurnState]:
            hot = await self.hot.read_turn(space, chain, enough=enough)
            plain = await self.plain.read_turn(space, chain, enough=enough)
            assert min(plain.known, max(enough, 1)) <= hot.known <= plain.known
            if hot.known < plain.known:
                plain = await self.plain.read_turn(space, chain[: hot.known], enough=0)
            return hot, plain

        hot, plain = self.runner.run(asked())
        if hot.nodes and hot.nodes[0].depth > 0:  # only openings are told from their twins
            plain = replace(plain, shared=hot.shared)
        if hot.counts is None and hot.queue is not None:  # no prompt shows them then
            plain = replace(plain, counts=None)
        assert hot == plain
        return hot

    def node(self, space: Namespace, name: NodeId) -> Node:
        (node,) = self.runner.run(self.plain.path(space, name, 1))
        return node

    def some(self, data: st.DataObject, space: Namespace) -> Node | None:
        """A known message, most often one of the last, or None."""
        names = [*self.known[space][:-5:-1], *self.known[space], None]
        name = data.draw(st.sampled_from(names))
        return self.node(space, name) if name else None

    def chain(self, space: Namespace, last: Node | None) -> list[NodeId]:
        """The keys up to a message."""
        if last is None:
            return []
        path = self.runner.run(self.plain.path(space, last.id, 99))
        return [node.key for node in path]

    def child(self, parent: Node | None, root: NodeId, word: str, **changes: object) -> Node:
        self.clock += 1
        name = NodeId(f"{parent.id if parent else root}{word}")
        values = {
            "key": NodeId(f"{parent.key if parent else root}{word}"),
            "content": ContentId(word),
            "parent": parent.id if parent else root,
            "depth": parent.depth + 1 if parent else 0,
            "queue": parent.queue if parent else name,
            "created": EPOCH + self.clock,
        }
        return message(name, f"text {word}", **{**values, **changes})

    @rule(
        space=SPACES,
        data=st.data(),
        words=st.lists(WORDS, min_size=1, max_size=3),
        turn=st.sampled_from(TURNS),
        whole=st.booleans(),
        silent=st.booleans(),
        otherwise=st.sampled_from([None, None, None, None, "twin", "odd"]),
        named=st.booleans(),
        looks=MOSTLY,
        flush=st.sampled_from([0, 0, 0, 1, 2, 3]),
    )
    def turn(
        self,
        space: Namespace,
        data: st.DataObject,
        words: list[str],
        turn: TurnId,
        otherwise: str | None,
        flush: int,
        *,
        whole: bool,
        silent: bool,
        named: bool,
        looks: bool,
    ) -> None:
        """Read, then commit what hangs on a message, and perhaps flush."""
        last = self.some(data, space)
        root = NAME if named else ROOT
        asked: list[NodeId] = []
        if looks:
            asked = [*self.chain(space, last), NodeId(f"{last.key if last else root}{words[0]}")]
            self.read(space, asked, len(asked) - 1)
        nodes: list[Node] = []
        for word in words:
            node = self.child(last, root, word, turn=turn, complete=whole)
            if otherwise and not nodes:
                key = node.key if otherwise == "twin" else NodeId(f"odd{word}")
                node = replace(node, id=NodeId(f"{node.id}{self.clock}"), key=key)
                node = replace(node, queue=node.queue if last else node.id)
            last = replace(node, text="" if silent else node.text, entries=f'["{self.clock}"]')
            nodes.append(last)
        states = [queue(nodes[0].id, start=0)] if nodes[0].depth == 0 else []
        if 0 < flush <= nodes[-1].depth:
            states.append(queue(nodes[-1].id, start=flush, summary=f"at {self.clock}"))
        conversation = Conversation(NAME, nodes[-1].id, silent) if named else None
        made = record(*nodes, queues=states, conversation=conversation)
        self.runner.run(self.hot.commit(space, made))
        self.known[space] += [node.id for node in nodes if node.id not in self.known[space]]
        self.read(space, [*asked, *(node.key for node in nodes[1:])], len(asked))

    @rule(space=SPACES, data=st.data(), junk=st.lists(WORDS, max_size=2))
    def look(self, space: Namespace, data: st.DataObject, junk: list[str]) -> None:
        chain = self.chain(space, self.some(data, space))
        chain = chain[data.draw(st.integers(0, 1)) :] + [NodeId(word) for word in junk]
        self.read(space, chain, data.draw(st.integers(0, len(chain))))

    @rule(space=SPACES, data=st.data(), length=st.integers(0, 4))
    def go_on(self, space: Namespace, data: st.DataObject, length: int) -> None:
        """What a client that sends its newest message only makes of it."""
        self.same(lambda store: store.conversation(space, NAME))
        self.same(lambda store: store.after(space, NAME))
        node = self.some(data, space)
        name = node.id if node else NodeId("nobody")
        self.same(lambda store: store.path(space, name, length))
        self.same(lambda store: store.after(space, name))
        self.read(space, [name], 1)

    @rule(space=SPACES, data=st.data(), rarely=RARELY)
    def fork(self, space: Namespace, data: st.DataObject, *, rarely: bool) -> None:
        names = st.lists(st.sampled_from([*self.known[space], NodeId("nobody")]), max_size=2)
        up = self.some(data, space)
        if rarely:
            fork = Fork(tuple(data.draw(names)), tuple(data.draw(names)), up.id if up else None)
            self.runner.run(self.hot.commit(space, record(fork=fork)))

    @rule(space=SPACES, stale=st.booleans(), text=st.sampled_from(["one", "two", ""]))
    def edit(self, space: Namespace, text: str, *, stale: bool) -> None:
        version = self.same(lambda store: store.context(space)).version

        async def write() -> bool:
            try:
                await self.hot.write_context(space, version - stale, text, ROOT, TURNS[1])
            except StaleVersion:
                return True
            return False

        assert self.runner.run(write()) == stale

    @rule(space=SPACES, name=st.sampled_from("pqr"), turn=st.sampled_from(TURNS))
    def archive(self, space: Namespace, name: str, turn: TurnId) -> None:
        inserted = [passage(name, f"text {name}", turn=turn)]
        self.runner.run(self.hot.insert_passages(space, inserted))

    @rule(space=SPACES, turn=st.sampled_from(TURNS), hide=st.booleans(), rarely=RARELY)
    def undo(self, space: Namespace, turn: TurnId, *, hide: bool, rarely: bool) -> None:
        if not rarely:
            return
        change = self.hot.hide_passages if hide else self.hot.show_passages
        self.runner.run(change(space, [turn]))

    @rule(space=SPACES)
    def ask(self, space: Namespace) -> None:
        start = datetime.fromtimestamp(EPOCH, UTC)
        end = start + timedelta(days=1)
        self.same(lambda store: store.counts(space))
        self.same(lambda store: store.edits(space, TURNS))
        self.same(lambda store: store.search_messages(space, "text", limit=9, offset=0))
        self.same(lambda store: store.search_passages(space, "text", limit=9, offset=0))
        self.same(lambda store: store.messages_between(space, start, end, limit=9, offset=0))
        self.same(lambda store: store.passages_between(space, start, end, limit=9, offset=0))
        contents = [ContentId(word) for word in "abz"]
        self.same(lambda store: store.with_content(space, contents, limit=2))

    @rule(
        space=SPACES,
        data=st.data(),
        word=WORDS,
        leaves=RARELY,
        first=st.booleans(),
        elsewhere=st.booleans(),
    )
    def race(
        self,
        space: Namespace,
        data: st.DataObject,
        word: str,
        *,
        leaves: bool,
        first: bool,
        elsewhere: bool,
    ) -> None:
        """A read and a commit at once, perhaps in another branch; its caller may leave."""
        last = self.some(data, space)
        chain = self.chain(space, last) or [NodeId(word)]
        node = self.child(self.some(data, space) if elsewhere else last, ROOT, word)

        async def raced() -> None:
            loop = asyncio.get_running_loop()
            commit = loop.create_task(self.hot.commit(space, record(node)))
            if first:
                await asyncio.sleep(0)
            read = loop.create_task(self.hot.read_turn(space, chain, enough=len(chain)))
            await asyncio.sleep(0)
            if leaves:
                commit.cancel()
            await asyncio.wait([commit, read])
            await self.behind.ping()  # what was accepted is carried out by now

        self.runner.run(raced())
        if self.runner.run(self.plain.path(space, node.id, 1)) and node.id not in self.known[space]:
            self.known[space].append(node.id)
        self.read(space, [*chain, node.key], len(chain))
        self.same(lambda store: store.after(space, last.id if last else ROOT))

    @rule(space=SPACES, data=st.data(), rarely=RARELY)
    def crowd(self, space: Namespace, data: st.DataObject, *, rarely: bool) -> None:
        """More conversations with one beginning than a turn reads of."""
        last = self.some(data, space)
        if not rarely or last is None:
            return
        self.read(space, self.chain(space, last), 0)
        nodes = [self.child(last, ROOT, f"w{number}") for number in range(MOST_AFTER + 1)]
        nodes = [replace(node, id=NodeId(f"{node.id}.{node.created}")) for node in nodes]
        self.runner.run(self.hot.commit(space, record(*nodes)))
        self.known[space] += [node.id for node in nodes]
        self.read(space, self.chain(space, last), 0)

    @rule(space=SPACES, data=st.data(), rarely=RARELY, amid=st.booleans())
    def erase(self, space: Namespace, data: st.DataObject, *, rarely: bool, amid: bool) -> None:
        """Erase, perhaps while others read and write; what they wrote is there or is not."""
        if not rarely:
            return
        last = self.some(data, space)
        chain = self.chain(space, last)
        node = self.child(last, ROOT, "a")

        async def erased() -> None:
            async with asyncio.TaskGroup() as group:
                if amid:
                    group.create_task(self.hot.read_turn(space, chain, enough=len(chain)))
                    group.create_task(self.hot.commit(space, record(node)))
                group.create_task(self.hot.erase(space))
                if amid:
                    group.create_task(self.hot.read_turn(space, chain, enough=len(chain)))
                    group.create_task(self.hot.counts(space))

        self.runner.run(erased())
        assert not self.runner.run(self.plain.path(space, node.id, 1))
        self.known[space] = []
        self.read(space, [*chain, node.key], len(chain))
        self.same(lambda store: store.counts(space))
        self.same(lambda store: store.context(space))
        self.same(lambda store: store.conversation(space, NAME))

    @rule(rarely=RARELY)
    def restart(self, *, rarely: bool) -> None:
        if rarely:
            self.hot = HotStore(self.behind, self.size)

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        if hasattr(self, "hot"):
            spaces = self.hot._spaces
            remembered = spaces._spaces.values()
            assert spaces._size <= spaces._max_bytes
            assert spaces._size == sum(hot.size for hot in remembered)
            for hot in remembered:
                assert set(hot.tips) == {name for name in hot.nodes if not hot.followed[name]}
                assert hot.faded.isdisjoint(hot.nodes)


SideBySide.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_side_by_side = SideBySide.TestCase
