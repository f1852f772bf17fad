"""Commits on a real server: several processes, records that waited or were made without memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from memgpt_proxy.stores.elasticsearch import ElasticsearchStore, access
from memgpt_proxy.stores.elasticsearch import store as store_module
from memgpt_proxy.stores.elasticsearch.commits import lineages_of
from memgpt_proxy.stores.records import (
    MOST_LINEAGE,
    Conversation,
    Fork,
    Namespace,
    Node,
    NodeId,
    TurnId,
)
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import branch, ids, message, queue, record

pytestmark = pytest.mark.elasticsearch

NAME = NodeId("name")


async def node_of(store: ElasticsearchStore, namespace: Namespace, name: str) -> Node:
    (node,) = await store.path(namespace, NodeId(name), 1)
    return node


async def test_processes_that_write_one_node_agree(
    shared: ElasticsearchStore, other: ElasticsearchStore, namespace: Namespace
) -> None:
    cut_off = message("m0", "half", complete=False, turn=TurnId("t"))
    whole = replace(cut_off, entries='["whole"]', tokens=9, complete=True)
    stores = [shared, other] * 5
    written = [
        store.commit(namespace, record(whole if number == 7 else cut_off))
        for number, store in enumerate(stores)
    ]
    await asyncio.gather(*written)
    assert await node_of(shared, namespace, "m0") == whole


async def test_a_repeat_completes_what_broke_off(
    shared: ElasticsearchStore, namespace: Namespace
) -> None:
    nodes = branch(["hi", "hello", "how are you"])
    whole = record(
        *nodes, queues=[queue("m0", 0)], conversation=Conversation(NAME, NodeId("m2"), False)
    )
    await shared.commit(namespace, record(nodes[0], queues=[queue("m0", 0)]))
    assert await shared.conversation(namespace, NAME) is None
    await shared.commit(namespace, whole)
    stored = await shared.path(namespace, NodeId("m2"), 9)
    assert stored == (replace(nodes[0], queue=NodeId("m0")), *nodes[1:])
    assert await shared.conversation(namespace, NAME) == whole.conversation
    assert (await shared.counts(namespace)).messages == 3


@pytest.mark.parametrize(("made", "kept"), [(5.0, "new"), (20.0, "old"), (10.0, "old")])
async def test_what_waited_gives_way_to_what_was_made_later(
    shared: ElasticsearchStore, namespace: Namespace, made: float, kept: str
) -> None:
    first = record(
        *branch(["hi"]),
        queues=[queue("m0", 0, summary="new")],
        conversation=Conversation(NAME, NodeId("new"), True),
        created=10.0,
    )
    waited = record(
        queues=[queue("m0", 0, summary="old")],
        conversation=Conversation(NAME, NodeId("old"), False),
        created=made,
        waited=True,
    )
    await shared.commit(namespace, first)
    await shared.commit(namespace, waited)
    turn = await shared.read_turn(namespace, [NodeId("m0")], enough=1)
    assert turn.queue is not None
    assert turn.queue.summary == kept
    conversation = await shared.conversation(namespace, NAME)
    assert conversation is not None
    assert conversation.tip == kept


async def test_what_waited_is_stored_where_there_is_none(
    shared: ElasticsearchStore, namespace: Namespace
) -> None:
    await shared.commit(
        namespace, record(*branch(["hi"]), queues=[queue("m0", 0)], waited=True, created=1.0)
    )
    turn = await shared.read_turn(namespace, [NodeId("m0")], enough=1)
    assert turn.queue == queue("m0", 0)


async def test_what_was_made_without_memory_is_placed(
    shared: ElasticsearchStore, namespace: Namespace
) -> None:
    first = replace(branch(["hi"])[0], queue=NodeId("m0"), context_version=7)
    await shared.commit(namespace, record(first, queues=[queue("m0", 0)]))
    unplaced = [
        message("m1", "a", parent=NodeId("m0"), depth=1),
        message("m2", "b", parent=NodeId("m1"), depth=2),
    ]
    await shared.commit(namespace, record(*unplaced, unplaced=True))
    for name in ("m1", "m2"):
        node = await node_of(shared, namespace, name)
        assert (node.queue, node.context_version) == ("m0", 7)


async def test_what_hangs_on_nothing_stays_as_it_was_made(
    shared: ElasticsearchStore, namespace: Namespace
) -> None:
    orphan = message("m1", "a", parent=NodeId("m0"), depth=1, queue=NodeId("q"), context_version=3)
    await shared.commit(namespace, record(orphan, unplaced=True))
    assert await node_of(shared, namespace, "m1") == orphan


async def test_a_long_branch_is_read_in_few_look_ups(
    shared: ElasticsearchStore, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = branch([f"message {depth}" for depth in range(128)])
    lineage: list[NodeId] = []
    for first in range(0, 128, 2):
        turn = nodes[first : first + 2]
        await shared.commit(namespace, record(*turn, lineage=lineage[:MOST_LINEAGE]))
        lineage = [*(node.id for node in reversed(turn)), *lineage]
    looked_up = []
    real = access.Access.get

    async def counted(self: access.Access, *args: object, **options: object) -> object:
        looked_up.append(args)
        return await real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(access.Access, "get", counted)
    assert await shared.path(namespace, NodeId("m127"), 128) == tuple(nodes)
    assert len(looked_up) <= 1 + 128 / MOST_LINEAGE


async def test_names_may_be_long(shared: ElasticsearchStore, namespace: Namespace) -> None:
    long = ["ü" * 5000 + str(number) for number in range(3)]
    first = message(long[0], "hi", queue=NodeId(long[0]))
    second = message(long[1], "ho", parent=first.id, depth=1, key=NodeId(long[2]))
    second = replace(second, queue=first.id)
    stored = record(
        first,
        second,
        queues=[queue(long[0], 0)],
        conversation=Conversation(NodeId(long[2]), second.id, True),
    )
    await shared.commit(namespace, stored)
    turn = await shared.read_turn(namespace, [first.id, second.key], enough=2)
    assert turn.nodes == (replace(first, queue=first.id), second)
    assert turn.queue == queue(long[0], 0)
    assert await shared.after(namespace, first.id) == (second,)
    assert await shared.with_content(namespace, [second.content], limit=2) == (second,)
    assert await shared.conversation(namespace, NodeId(long[2])) == stored.conversation
    hits = (await shared.search_messages(namespace, "hi", limit=2, offset=0)).hits
    assert [hit.id for hit in hits] == [long[0]]


async def test_what_was_accepted_is_stored_though_its_caller_leaves(
    shared: ElasticsearchStore, other: ElasticsearchStore, namespace: Namespace
) -> None:
    committed = asyncio.get_running_loop().create_task(
        shared.commit(namespace, record(message("m0", "hi")))
    )
    await asyncio.sleep(0)
    committed.cancel()
    await shared.close()
    assert ids(await other.path(namespace, NodeId("m0"), 1)) == ["m0"]


async def test_another_process_finds_it_when_it_is_told(
    shared: ElasticsearchStore, other: ElasticsearchStore, namespace: Namespace
) -> None:
    await shared.commit(namespace, record(message("m0", "cake")))
    other.changed_elsewhere(namespace)
    assert (await other.search_messages(namespace, "cake", limit=1, offset=0)).total == 1
    await shared.commit(namespace, record(message("m1", "cake")))
    other.alone(alone=True)
    assert (await other.search_messages(namespace, "cake", limit=1, offset=0)).total == 2


@pytest.mark.slow
async def test_a_fork_is_carried_out_however_deep(
    shared: ElasticsearchStore,
    other: ElasticsearchStore,
    namespace: Namespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "LAST_SECONDS", 50.0)  # closing gives a slow machine up
    depth = 1000
    nodes = branch([f"deep {number}" for number in range(depth)])
    await shared.commit(namespace, record(*nodes))
    new = message("new", "deep", parent=NodeId("m0"), depth=1)
    left = Fork(left=(NodeId("m1"),), kept=(NodeId("m3"),))
    await shared.commit(namespace, record(new, fork=left))
    await shared.close()  # waits for the rest
    stored = await other.path(namespace, NodeId(f"m{depth - 1}"), depth)
    live = [node.id for node in stored if not node.abandoned]
    assert live == ["m0", "m3"]
    assert not (await node_of(other, namespace, "new")).abandoned
    await other.commit(namespace, record(fork=Fork(taken_up=NodeId(f"m{depth - 1}"))))
    assert not any(
        node.abandoned for node in await other.path(namespace, NodeId(f"m{depth - 1}"), depth)
    )


def test_the_last_of_a_record_names_those_before_it() -> None:
    nodes = branch([""] * 20)
    lineages = lineages_of(nodes[4:], ids(nodes[:4])[::-1])
    assert set(lineages) == {"m11", "m19"}
    assert lineages[NodeId("m11")] == tuple(f"m{depth}" for depth in range(10, -1, -1))
    assert lineages[NodeId("m19")] == tuple(f"m{depth}" for depth in range(18, 2, -1))


def test_owners_are_the_same_in_every_family() -> None:
    assert owner_of(Namespace("alice")).isdecimal()


async def test_a_ping_waits_for_what_was_asked_for(
    shared: ElasticsearchStore, other: ElasticsearchStore, namespace: Namespace
) -> None:
    committed = asyncio.get_running_loop().create_task(
        shared.commit(namespace, record(message("m0", "hi")))
    )
    await asyncio.sleep(0)
    committed.cancel()
    await shared.ping()
    assert ids(await other.path(namespace, NodeId("m0"), 1)) == ["m0"]
