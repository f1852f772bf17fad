"""The transcript tree in every family of stores: keys, branches, forks, conversations."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from memgpt_proxy.stores.protocols import Store, StoreError
from memgpt_proxy.stores.records import (
    MOST_AFTER,
    ContentId,
    Conversation,
    Counts,
    Fork,
    Node,
    NodeId,
    QueueState,
    TurnId,
    TurnState,
)
from tests.stores.build import ALICE, BOB, EPOCH, branch, ids, kept, message, queue, record, renamed

NAME = NodeId("name")
NOBODY = NodeId("nobody")
S, T = TurnId("s"), TurnId("t")


async def turn_on(store: Store, *chain: str) -> TurnState:
    names = [NodeId(name) for name in chain]
    return await store.read_turn(ALICE, names, enough=len(names))


def child(parent: Node, name: str, text: str = "", **changes: object) -> Node:
    """A message that follows another, a second later."""
    follows = {
        "parent": parent.id,
        "depth": parent.depth + 1,
        "created": parent.created + 1,
        "queue": parent.queue,
    }
    return message(name, text, **{**follows, **changes})


def said(*texts: str) -> list[Node]:
    """A branch whose queue state hangs on its first message."""
    return [replace(node, queue=NodeId("m0")) for node in branch(texts)]


class TestKeys:
    async def test_a_message_is_found_by_its_key_too(self, store: Store) -> None:
        first, *_ = nodes = said("hi", "hello")
        other = child(nodes[1], "stored", "and?", key=NodeId("written"))
        await store.commit(ALICE, record(*nodes, other, queues=[queue("m0", 0)]))
        for name in ("written", "stored"):
            for enough in (0, 2, 3):
                chain = [first.key, NodeId("m1~"), NodeId(name), NOBODY]
                turn = await store.read_turn(ALICE, chain, enough=enough)
                assert (turn.known, ids(turn.nodes)[-1]) == (3, "stored")
                assert turn.nodes[-1].key == "written"

    async def test_of_messages_with_one_key_the_newest_is_meant(self, store: Store) -> None:
        old = message("m0", "hi")
        twin = message("m0#", key=old.id, created=EPOCH + 9)
        older = message("m0##", key=old.id, created=EPOCH + 5)
        await store.commit(ALICE, record(old))
        assert ids((await turn_on(store, "m0")).nodes) == ["m0"]
        await store.commit(ALICE, record(twin, older))
        assert ids((await turn_on(store, "m0")).nodes) == ["m0#"]
        assert ids((await turn_on(store, "m0##")).nodes) == ["m0##"]
        later = message("m0+", key=old.id, created=EPOCH + 9)
        await store.commit(ALICE, record(later))
        assert ids((await turn_on(store, "m0")).nodes) == ["m0+"]

    async def test_the_last_known_one_counts_whatever_it_hangs_on(self, store: Store) -> None:
        nodes = said("hi", "hello")
        twins = [
            message("t0", key=NodeId("m0"), created=EPOCH + 5),
            message("t1", key=NodeId("m1"), parent=NodeId("t0"), depth=1, created=EPOCH + 6),
        ]
        await store.commit(ALICE, record(*nodes, *twins))
        tail = child(nodes[1], "m2", "again")
        await store.commit(ALICE, record(tail))
        assert ids((await turn_on(store, "m0", "m1")).nodes) == ["t0", "t1"]
        assert ids((await turn_on(store, "m0", "m1", "m2")).nodes) == ["m0", "m1", "m2"]

    @pytest.mark.parametrize(("later", "meant"), [(9, "x"), (-9, "m1")])
    @pytest.mark.parametrize("parent", ["m0", "elsewhere"])
    async def test_a_later_one_with_the_key_of_a_known_one(
        self, store: Store, parent: str, later: int, meant: str
    ) -> None:
        nodes = said("hi", "hello")
        await store.commit(ALICE, record(*nodes, queues=[queue("m0", 0)]))
        for _ in range(2):
            assert ids((await turn_on(store, "m0", "m1")).nodes) == ["m0", "m1"]
        await turn_on(store, "m0")
        other = replace(nodes[1], id=NodeId("x"), parent=NodeId(parent), text="")
        other = replace(other, created=EPOCH + later)
        await store.commit(ALICE, record(other))
        for _ in range(2):
            assert (await turn_on(store, "m0", "m1")).nodes[-1].id == meant

    async def test_positions_in_the_chain_are_no_depths(self, store: Store) -> None:
        nodes = branch([f"message {n}" for n in range(9)])
        await store.commit(ALICE, record(*nodes, queues=[queue("m4", start=3)]))
        moved = [replace(nodes[8], queue=NodeId("m4"))]
        last = renamed(child(moved[0], "x"), "m9", queue=NodeId("m4"))
        await store.commit(ALICE, record(last))
        turn = await turn_on(store, "m9", "nobody")
        assert (turn.known, [node.depth for node in turn.nodes]) == (1, [3, 4, 5, 6, 7, 8, 9])

    async def test_openings_with_the_same_words_are_told(self, store: Store) -> None:
        assert not (await turn_on(store, "m0")).shared
        await store.commit(ALICE, record(*said("hi", "hello"), queues=[queue("m0", 0)]))
        assert not (await turn_on(store, "m0", "m1")).shared
        await store.commit(BOB, record(message("t0", key=NodeId("m0"))))
        assert not (await turn_on(store, "m0", "m1")).shared
        await store.commit(ALICE, record(message("t0", key=NodeId("m0"), created=EPOCH + 5)))
        assert (await turn_on(store, "m0", "m1")).shared
        assert (await turn_on(store, "m0", "nobody")).shared
        assert not (await turn_on(store, "t0")).shared
        await store.commit(ALICE, record(message("u0", key=NodeId("v0"))))
        assert not (await turn_on(store, "v0")).shared
        await store.commit(ALICE, record(message("w0", key=NodeId("v0"))))
        assert (await turn_on(store, "v0")).shared


class TestAfter:
    async def test_what_follows_is_read_nearest_first(self, store: Store) -> None:
        root = message("r", "root", queue=NodeId("r"))
        a, b = child(root, "a"), child(root, "b", created=EPOCH + 3)
        c = child(root, "c", created=EPOCH + 3)
        deep = child(a, "a1", created=EPOCH + 9)
        nodes = [root, a, deep, c, b]
        await store.commit(ALICE, record(*nodes, queues=[queue("r", 0)]))
        expected = ["b", "c", "a", "a1"]
        for _ in range(2):
            assert ids((await turn_on(store, "r", "nobody")).after) == expected
            assert ids(await store.after(ALICE, root.id)) == expected
        assert (await turn_on(store, "r", "a")).after == (deep,)
        assert (await turn_on(store, "r", "a", "a1")).after == ()
        assert (await turn_on(store, "nobody")).after == ()
        more = child(a, "a2", created=EPOCH + 10)
        await store.commit(ALICE, record(more))
        assert ids((await turn_on(store, "r")).after) == ["b", "c", "a", "a2", "a1"]

    async def test_it_is_bounded(self, store: Store) -> None:
        root = message("r", "root", queue=NodeId("r"))
        wide = [child(root, f"w{n:02}", created=EPOCH + n) for n in range(MOST_AFTER - 1)]
        deep = child(wide[0], "deep")
        await store.commit(ALICE, record(root, *wide, deep, queues=[queue("r", 0)]))
        newest = ids(wide)[::-1]
        assert ids((await turn_on(store, "r")).after) == [*newest, "deep"]
        await store.commit(ALICE, record(child(root, "one", created=EPOCH + 99)))
        for _ in range(2):
            assert ids((await turn_on(store, "r")).after) == ["one", *newest]
            assert ids(await store.after(ALICE, wide[0].id)) == ["deep"]
        await store.commit(ALICE, record(child(root, "two", created=EPOCH + 100)))
        for _ in range(2):
            assert ids((await turn_on(store, "r")).after) == ["two", "one", *newest[:-1]]

    async def test_what_was_cut_off_is_not_taken_for_all(self, store: Store) -> None:
        root = message("r", "root", queue=NodeId("r"))
        wide = [child(root, f"w{n:02}") for n in range(MOST_AFTER)]
        deep = child(wide[0], "deep")
        await store.commit(ALICE, record(root, *wide, deep, queues=[queue("r", 0)]))
        assert ids((await turn_on(store, "r")).after) == ids(wide)
        assert ids(await store.after(ALICE, wide[0].id)) == ["deep"]
        assert (await turn_on(store, "r", "w00")).after == (deep,)

    async def test_first_messages_follow_a_name(self, store: Store) -> None:
        first = message("m0", "hi", parent=NAME)
        await store.commit(ALICE, record(first, child(first, "m1"), message("m", "elsewhere")))
        assert ids(await store.after(ALICE, NAME)) == ["m0", "m1"]
        assert await store.after(BOB, NAME) == ()

    @pytest.mark.parametrize(
        ("name", "length", "expected"),
        [
            ("m4", 3, ["m2", "m3", "m4"]),
            ("m4", 99, ["m0", "m1", "m2", "m3", "m4"]),
            ("m0", 2, ["m0"]),
            ("m4", 0, []),
            ("nobody", 3, []),
        ],
    )
    async def test_a_path(self, store: Store, name: str, length: int, expected: list[str]) -> None:
        nodes = said("a", "b", "c", "d", "e")
        await store.commit(ALICE, record(*nodes, child(nodes[2], "other")))
        assert ids(await store.path(ALICE, NodeId(name), length)) == expected
        assert await store.path(BOB, NodeId(name), length) == ()


class TestContent:
    async def test_the_newest_of_each_are_found(self, store: Store) -> None:
        said = [message(f"m{n}", "ok", created=EPOCH + n) for n in range(5)]
        other, silent = message("o", "other"), message("s", content=ContentId("image"))
        await store.commit(ALICE, record(*said, other, silent))
        await store.commit(BOB, record(message("b", "ok")))
        ok, image = said[0].content, silent.content
        found = await store.with_content(ALICE, [image, ok, ok, ContentId("?")], limit=2)
        assert found == (said[4], said[3], silent)
        assert await store.with_content(ALICE, [], limit=2) == ()
        assert await store.with_content(ALICE, [ok], limit=0) == ()

    async def test_thousands_may_be_asked_for(self, store: Store) -> None:
        nodes = branch([f"text {n}" for n in range(3000)])
        await store.commit(ALICE, record(*nodes))
        found = await store.with_content(ALICE, [node.content for node in nodes], limit=8)
        assert found == tuple(nodes[::-1])


class TestFork:
    """A stem, and two branches of which one was gone on with."""

    @pytest.fixture
    async def tree(self, store: Store) -> dict[str, Node]:
        stem = said("cake stem", "cake reply")
        a = child(stem[1], "a", "cake a")
        b = child(stem[1], "b", "cake b")
        a1, b1 = child(a, "a1", "cake a1"), child(b, "b1", "cake b1")
        a2 = child(a1, "a2", "cake a2")
        nodes = [*stem, a, b, a1, b1, a2]
        await store.commit(ALICE, record(*nodes, queues=[queue("m0", 0)]))
        await turn_on(store, "m0", "m1")
        return {node.id: node for node in nodes}

    async def abandoned(self, store: Store, tree: dict[str, Node]) -> set[str]:
        return {node.id for node in await kept(store, ALICE, list(tree)) if node.abandoned}

    async def test_what_is_left_is_abandoned_with_all_below(
        self, store: Store, tree: dict[str, Node]
    ) -> None:
        fork = Fork(left=(NodeId("a"),), kept=(NodeId("a2"), NodeId("b")))
        new = child(tree["m1"], "c", "cake c")
        await store.commit(ALICE, record(new, fork=fork))
        assert await self.abandoned(store, {**tree, "c": new}) == {"a", "a1"}
        turn = await turn_on(store, "m0", "m1")
        assert {node.id for node in turn.after if node.abandoned} == {"a", "a1"}
        assert (await turn_on(store, "m0", "m1", "a")).nodes[-1].abandoned
        assert (await store.counts(ALICE)).messages == 8

    async def test_what_is_taken_up_lives_with_all_before(
        self, store: Store, tree: dict[str, Node]
    ) -> None:
        await store.commit(ALICE, record(fork=Fork(left=(NodeId("m0"),))))
        assert await self.abandoned(store, tree) == set(tree)
        await store.commit(ALICE, record(fork=Fork(taken_up=NodeId("a1"))))
        assert await self.abandoned(store, tree) == {"b", "b1", "a2"}
        fork = Fork(left=(NodeId("m0"),), taken_up=NodeId("b"))
        await store.commit(ALICE, record(fork=fork))
        assert await self.abandoned(store, tree) == {"a", "a1", "a2", "b1"}

    async def test_the_records_new_messages_are_live(
        self, store: Store, tree: dict[str, Node]
    ) -> None:
        new = child(tree["a2"], "a3", "cake a3", abandoned=True)
        await store.commit(ALICE, record(new, fork=Fork(left=(NodeId("a"),))))
        assert await self.abandoned(store, {**tree, "a3": new}) == {"a", "a1", "a2"}

    async def test_other_namespaces_are_left_alone(
        self, store: Store, tree: dict[str, Node]
    ) -> None:
        await store.commit(BOB, record(fork=Fork(left=(NodeId("m0"), NOBODY), taken_up=NOBODY)))
        assert await self.abandoned(store, tree) == set()

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("cake", ["b1", "b", "m1", "m0", "a2", "a1", "a"]),
            ("a1 b1 stem", ["b1", "m0", "a1"]),
        ],
    )
    async def test_abandoned_messages_are_found_after_all_others(
        self, store: Store, tree: dict[str, Node], query: str, expected: list[str]
    ) -> None:
        await store.commit(ALICE, record(fork=Fork(left=(NodeId("a"),))))
        page = await store.search_messages(ALICE, query, limit=9, offset=0)
        assert page.total == len(expected)
        if query == "cake":
            assert [hit.id for hit in page.hits] == expected
        assert {hit.id for hit in page.hits} == set(expected)
        assert page.hits[-1].id == expected[-1]

    async def test_so_they_are_between_dates(self, store: Store, tree: dict[str, Node]) -> None:
        await store.commit(ALICE, record(fork=Fork(left=(NodeId("a"),))))
        day = datetime.fromtimestamp(EPOCH, UTC)
        pages = [
            await store.messages_between(ALICE, day, day + timedelta(1), limit=4, offset=offset)
            for offset in (0, 4)
        ]
        assert [page.total for page in pages] == [7, 7]
        found = [hit.id for page in pages for hit in page.hits]
        assert found == ["b1", "b", "m1", "m0", "a2", "a1", "a"]


class TestReplacement:
    OLD = message("m0", "same", turn=S, queue=NodeId("q"), context_version=1, entries="[1]")
    NEW = replace(OLD, turn=T, queue=NodeId("p"), context_version=2, entries="[2]", tokens=9)

    @pytest.mark.parametrize("whole", [True, False])
    async def test_another_turn_in_the_same_words_replaces_it(
        self, store: Store, *, whole: bool
    ) -> None:
        await store.commit(ALICE, record(replace(self.OLD, complete=whole)))
        await store.commit(ALICE, record(fork=Fork(left=(self.OLD.id,))))
        await turn_on(store, "m0")
        other = replace(self.NEW, text="no", created=EPOCH + 9, content=ContentId("no"), depth=7)
        await store.commit(ALICE, record(other))
        assert await kept(store, ALICE, ["m0"]) == (self.NEW,)
        assert (await turn_on(store, "m0")).nodes == (self.NEW,)
        assert (await store.counts(ALICE)).messages == 1

    @pytest.mark.parametrize(
        "again",
        [
            replace(NEW, turn=S),
            replace(NEW, turn=TurnId("")),
            replace(NEW, complete=False),
        ],
    )
    async def test_nothing_else_does(self, store: Store, again: Node) -> None:
        await store.commit(ALICE, record(self.OLD))
        await turn_on(store, "m0")
        await store.commit(ALICE, record(again))
        assert await kept(store, ALICE, ["m0"]) == (self.OLD,)
        assert (await turn_on(store, "m0")).nodes == (self.OLD,)

    @pytest.mark.parametrize("turn", ["", "s"])
    async def test_of_the_same_turn_it_becomes_complete(self, store: Store, turn: str) -> None:
        cut_off = replace(self.OLD, complete=False)
        await store.commit(ALICE, record(cut_off))
        await store.commit(ALICE, record(replace(self.NEW, turn=TurnId(turn))))
        whole = replace(self.OLD, entries="[2]", tokens=9)
        assert await kept(store, ALICE, ["m0"]) == (whole,)

    async def test_a_queue_state_of_the_same_record_holds(self, store: Store) -> None:
        await store.commit(ALICE, record(self.OLD))
        await store.commit(ALICE, record(self.NEW, queues=[queue("m0", 0)]))
        assert (await turn_on(store, "m0")).nodes == (replace(self.NEW, queue=NodeId("m0")),)
        await store.commit(ALICE, record(self.OLD))
        assert (await turn_on(store, "m0")).queue is None


class TestConversations:
    async def test_one_is_kept_under_its_name(self, store: Store) -> None:
        first, second = Conversation(NAME, NodeId("m1"), False), Conversation(NAME, NOBODY, True)
        await turn_on(store)
        assert await store.conversation(ALICE, NAME) is None
        for conversation in (first, second):
            await store.commit(ALICE, record(conversation=conversation))
            for _ in range(2):
                assert await store.conversation(ALICE, NAME) == conversation
        assert await store.conversation(ALICE, NOBODY) is None
        assert await store.conversation(BOB, NAME) is None

    async def test_a_record_is_whole_or_not_at_all(self, store: Store) -> None:
        nodes = said("hi", "hello")
        await store.commit(ALICE, record(*nodes))
        before = await turn_on(store, "m0", "m1")
        broken = record(
            child(nodes[1], "m2"),
            queues=[QueueState(NodeId("m1"), 2**70, "", before.context, Counts(0, 0))],
            fork=Fork(left=(NodeId("m0"),)),
            conversation=Conversation(NAME, NOBODY, True),
        )
        good = store.commit(ALICE, record(child(nodes[1], "m3")))
        outcomes = await asyncio.gather(store.commit(ALICE, broken), good, return_exceptions=True)
        assert type(outcomes[0]) is StoreError
        assert outcomes[1] == ()
        assert await kept(store, ALICE, ["m0", "m1", "m2"]) == tuple(nodes)
        assert await store.conversation(ALICE, NAME) is None
        assert (await turn_on(store, "m0", "m1")).queue is None
