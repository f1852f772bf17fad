"""Records that could not be stored at once, in every family of stores."""

from __future__ import annotations

from dataclasses import replace

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import ROOT, Conversation, NodeId, QueueState, Role
from tests.stores.build import ALICE, EPOCH, branch, ids, kept, message, queue, record

NAME = NodeId("name")


async def queue_at(store: Store, name: str) -> QueueState | None:
    return (await store.read_turn(ALICE, [NodeId(name)], enough=1)).queue


class TestWaited:
    """A record that waited comes after some that were made later."""

    async def test_a_queue_state_made_later_stays(self, store: Store) -> None:
        later = queue("m1", 1, "later")
        await store.commit(
            ALICE, record(*branch(["a", "b"]), queues=[later], created=EPOCH + 2, waited=False)
        )
        earlier = queue("m1", 1, "earlier")
        await store.commit(ALICE, record(queues=[earlier], created=EPOCH + 1, waited=True))
        assert await queue_at(store, "m1") == later

    async def test_a_queue_state_made_earlier_is_replaced(self, store: Store) -> None:
        earlier = queue("m1", 1, "earlier")
        made = record(*branch(["a", "b"]), queues=[earlier], created=EPOCH + 1)
        await store.commit(ALICE, made)
        later = queue("m1", 1, "later")
        await store.commit(ALICE, record(queues=[later], created=EPOCH + 2, waited=True))
        assert await queue_at(store, "m1") == later

    async def test_what_did_not_wait_replaces_whatever_there_is(self, store: Store) -> None:
        """The clocks of two processes need not agree."""
        made = record(*branch(["a"]), queues=[queue("m0", 0, "first")], created=EPOCH + 2)
        await store.commit(ALICE, made)
        await store.commit(ALICE, record(queues=[queue("m0", 0, "second")], created=EPOCH + 1))
        assert await queue_at(store, "m0") == queue("m0", 0, "second")

    async def test_a_queue_state_that_there_was_none_of_is_stored(self, store: Store) -> None:
        await store.commit(ALICE, record(*branch(["a", "b"]), created=EPOCH + 2))
        made = record(queues=[queue("m1", 1)], created=EPOCH + 1, waited=True)
        await store.commit(ALICE, made)
        assert await queue_at(store, "m1") == queue("m1", 1)
        (node,) = await kept(store, ALICE, ["m1"])
        assert node.queue == "m1"

    async def test_what_was_read_before_is_not_told_for_it(self, store: Store) -> None:
        later = queue("m1", 1, "later")
        made = record(*branch(["a", "b"]), queues=[later], created=EPOCH + 2)
        await store.commit(ALICE, made)
        assert await queue_at(store, "m1") == later
        earlier = queue("m1", 1, "earlier")
        await store.commit(ALICE, record(queues=[earlier], created=EPOCH + 1, waited=True))
        assert await queue_at(store, "m1") == later

    async def test_a_conversation_that_came_further_stays_there(self, store: Store) -> None:
        further = Conversation(NAME, NodeId("m3"), resends=False)
        nodes = branch(["a", "b", "c", "d"])
        await store.commit(ALICE, record(*nodes, conversation=further, created=EPOCH + 2))
        earlier = Conversation(NAME, NodeId("m1"), resends=False)
        made = record(*nodes[:2], conversation=earlier, created=EPOCH + 1, waited=True)
        await store.commit(ALICE, made)
        assert await store.conversation(ALICE, NAME) == further
        latest = Conversation(NAME, NodeId("m2"), resends=True)
        made = record(conversation=latest, created=EPOCH + 3, waited=True)
        await store.commit(ALICE, made)
        assert await store.conversation(ALICE, NAME) == latest

    async def test_a_repeat_changes_nothing(self, store: Store) -> None:
        named = Conversation(NAME, NodeId("m1"), resends=False)
        nodes = branch(["a", "b"])
        states = [queue("m1", 1)]
        made = record(*nodes, queues=states, conversation=named, created=EPOCH + 1, waited=True)
        for _ in range(2):
            await store.commit(ALICE, made)
            turn = await store.read_turn(ALICE, ids(nodes), enough=2)
            assert (turn.known, turn.queue) == (2, states[0])
            assert await store.conversation(ALICE, NAME) == named


class TestUnplaced:
    """A record of a turn that could not read memory."""

    async def test_it_takes_its_place_from_the_message_it_hangs_on(self, store: Store) -> None:
        nodes = [replace(node, context_version=3) for node in branch([*"abcd"])]
        await store.commit(ALICE, record(*nodes, queues=[queue("m3", 2)]))
        event = message("m4", "e", parent=NodeId("m3"), depth=4)
        reply = message("m5", "f", parent=NodeId("m4"), depth=5, role=Role.ASSISTANT)
        await store.commit(ALICE, record(event, reply, unplaced=True, waited=True))
        assert await kept(store, ALICE, ["m4", "m5"]) == tuple(
            replace(node, queue=NodeId("m3"), context_version=3) for node in (event, reply)
        )
        turn = await store.read_turn(ALICE, ids([*nodes, event, reply]), enough=6)
        assert (turn.known, turn.queue) == (6, queue("m3", 2))
        assert ids(turn.nodes) == ["m2", "m3", "m4", "m5"]

    async def test_it_stays_as_it_is_where_there_is_no_such_message(self, store: Store) -> None:
        event = message("m4", "e", parent=NodeId("nobody"), depth=4)
        reply = message("m5", "f", parent=NodeId("m4"), depth=5, role=Role.ASSISTANT)
        await store.commit(ALICE, record(event, reply, unplaced=True))
        assert await kept(store, ALICE, ["m4", "m5"]) == (event, reply)

    async def test_a_conversation_that_begins_has_no_place_to_take(self, store: Store) -> None:
        nodes = branch(["a", "b"])
        await store.commit(ALICE, record(*nodes, unplaced=True))
        turn = await store.read_turn(ALICE, ids(nodes), enough=2)
        assert (turn.known, turn.queue, list(turn.nodes)) == (2, None, nodes)
        assert {node.queue for node in turn.nodes} == {ROOT}

    async def test_what_is_known_is_left_as_it_is(self, store: Store) -> None:
        nodes = branch(["a", "b", "c"])
        await store.commit(ALICE, record(*nodes, queues=[queue("m1", 1)]))
        before = await kept(store, ALICE, ids(nodes))
        again = [replace(node, text="other", queue=ROOT) for node in nodes]
        await store.commit(ALICE, record(*again, unplaced=True))
        assert await kept(store, ALICE, ids(nodes)) == before

    async def test_one_after_the_other(self, store: Store) -> None:
        nodes = branch(["a", "b"])
        await store.commit(ALICE, record(*nodes, queues=[queue("m1", 1)]))
        last = "m1"
        for depth in range(2, 5):
            turn = await store.read_turn(ALICE, [NodeId(last), NodeId(f"m{depth}")], enough=1)
            assert turn.nodes[-1].id == last
            node = message(f"m{depth}", f"text {depth}", parent=NodeId(last), depth=depth)
            await store.commit(ALICE, record(node, unplaced=True, waited=True))
            last = node.id
        turn = await store.read_turn(ALICE, [NodeId("m4")], enough=1)
        assert turn.queue == queue("m1", 1)
        assert ids(turn.nodes) == ["m1", "m2", "m3", "m4"]
