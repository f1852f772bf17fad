"""Erasing a memory: nothing of it is left, and nothing of others' is touched."""

from __future__ import annotations

import asyncio

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import (
    NO_TURN,
    Conversation,
    Counts,
    Holdings,
    Namespace,
    NodeId,
    TurnId,
    WorkingContext,
)
from tests.stores.build import ALICE, BOB, branch, ids, passage, queue, record

NAME = NodeId("name")
LIVED = Holdings(messages=5, queue_states=1, conversations=1, passages=3, working_contexts=2)


async def live(store: Store, namespace: Namespace) -> None:
    """Leave records of every kind behind: those of ``LIVED``."""
    nodes = branch(["carnelian", "", "carnelian beta", "gamma", "carnelian-7"])
    named = Conversation(NAME, nodes[-1].id, resends=True)
    await store.commit(namespace, record(*nodes, queues=[queue("m2", 1)], conversation=named))
    await store.write_context(namespace, 0, "Likes carnelian", NodeId("m0"), NO_TURN)
    await store.write_context(namespace, 1, "Likes beryl", NodeId("m2"), TurnId("t"))
    mine = [passage(f"p{at}", f"carnelian {at}", turn=TurnId("t")) for at in range(2)]
    await store.insert_passages(namespace, [*mine, passage("p", "carnelian")])
    await store.hide_passages(namespace, [TurnId("t")])


async def seen(store: Store, namespace: Namespace) -> tuple[object, ...]:
    """All that can be asked of a memory."""
    nodes = branch([""] * 5)
    turn = await store.read_turn(namespace, ids(nodes), enough=5)
    named = await store.conversation(namespace, NAME)
    said = await store.search_messages(namespace, "carnelian", limit=9, offset=0)
    kept = await store.search_passages(namespace, "carnelian", limit=9, offset=0)
    made = await store.edits(namespace, [TurnId("t")])
    return turn, named, said, kept, made, await store.counts(namespace)


async def test_nothing_is_left(store: Store) -> None:
    nobody = await seen(store, Namespace("nobody"))
    await live(store, ALICE)
    await live(store, BOB)
    before = await seen(store, BOB)
    assert await seen(store, ALICE) == before != nobody
    assert await store.erase(ALICE) == LIVED
    assert await seen(store, ALICE) == nobody
    assert await store.path(ALICE, NodeId("m4"), 9) == ()
    assert await store.after(ALICE, NodeId("m0")) == ()
    assert await store.context(ALICE) == WorkingContext(0, "")
    await store.show_passages(ALICE, [TurnId("t")])
    assert await seen(store, ALICE) == nobody
    assert await seen(store, BOB) == before


async def test_to_erase_nothing_is_no_mistake(store: Store) -> None:
    assert await store.erase(ALICE) == Holdings()
    await live(store, ALICE)
    await store.erase(ALICE)
    assert await store.erase(ALICE) == Holdings()


async def test_the_memory_begins_anew(store: Store) -> None:
    await live(store, ALICE)
    first = await seen(store, ALICE)
    await store.erase(ALICE)
    await live(store, ALICE)
    assert await seen(store, ALICE) == first
    assert await store.erase(ALICE) == LIVED


async def test_what_was_asked_for_before_goes_too(store: Store) -> None:
    nodes = branch(["carnelian"] * 40)
    commits = [store.commit(ALICE, record(node)) for node in nodes]
    tasks = [asyncio.get_running_loop().create_task(commit) for commit in commits]
    await asyncio.sleep(0)
    erased = await store.erase(ALICE)
    await asyncio.gather(*tasks)
    assert erased.messages == 40
    assert await store.counts(ALICE) == Counts(0, 0)
    assert (await store.read_turn(ALICE, ids(nodes), enough=40)).known == 0
