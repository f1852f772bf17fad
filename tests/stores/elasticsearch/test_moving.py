"""What is exported of an owner and taken over elsewhere makes the same answers there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from memgpt_proxy.stores.elasticsearch import ElasticsearchStore, moving
from memgpt_proxy.stores.portable import START, Mark, Portable, StoredPassage
from memgpt_proxy.stores.records import (
    ContentId,
    Conversation,
    Fork,
    Namespace,
    NodeId,
    TurnId,
)
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import EPOCH, branch, message, passage, queue, record

pytestmark = pytest.mark.elasticsearch

NAME = NodeId("name")
S, T = TurnId("s"), TurnId("t")


async def filled(store: ElasticsearchStore, namespace: Namespace) -> None:
    """A namespace with something of everything, and much of nodes and passages."""
    nodes = [replace(node, queue=NodeId("m0")) for node in branch(["cake"] * 60)]
    twins = [
        message("m59#", "twin", key=NodeId("m59"), depth=59, parent=NodeId("m58"), created=EPOCH)
    ]
    twins += [replace(twins[0], id=NodeId(f"a{n}"), created=EPOCH + 99) for n in range(3)]
    long = message("x" * 3000, "tea", parent=NodeId("m3"), depth=4)
    named = Conversation(NAME, NodeId("m59"), True)
    await store.commit(namespace, record(*nodes, long, queues=[queue("m0", 0)], conversation=named))
    for twin in twins[::-1]:
        await store.commit(namespace, record(twin))
    await store.commit(
        namespace, record(queues=[queue("m20", 9)], fork=Fork(left=(NodeId("m40"),)))
    )
    await store.insert_passages(
        namespace, [passage(f"p{n}", f"tea {n}", turn=S if n % 2 else T) for n in range(30)]
    )
    await store.hide_passages(namespace, [S])
    for version, turn in enumerate([S, TurnId(""), T]):
        await store.write_context(namespace, version, f"version {version}", NodeId("m1"), turn)


async def answers(store: ElasticsearchStore, namespace: Namespace) -> list[object]:
    """What the store says of it."""
    day = datetime.fromtimestamp(EPOCH, UTC)
    chains = [["m0", "m59"], ["m0", "m20", "nobody"], ["m0", "m58"], ["x" * 3000], ["nobody"]]
    said: list[object] = [
        await store.read_turn(namespace, [NodeId(key) for key in chain], enough=len(chain))
        for chain in chains
    ]
    said += [
        await store.path(namespace, NodeId("m59"), 99),
        await store.after(namespace, NodeId("m3")),
        await store.with_content(namespace, [ContentId("says cake")], limit=3),
        await store.with_content(namespace, [ContentId("says twin")], limit=3),
        await store.conversation(namespace, NAME),
        await store.search_messages(namespace, "cake", limit=99, offset=0),
        await store.messages_between(namespace, day, day + timedelta(1), limit=99, offset=0),
        await store.search_passages(namespace, "tea", limit=99, offset=0),
        [await store.context_at(namespace, version) for version in range(4)],
        await store.context(namespace),
        await store.edits(namespace, [S, T]),
        await store.counts(namespace),
    ]
    await store.show_passages(namespace, [S])
    return [*said, await store.search_passages(namespace, "tea", limit=99, offset=0)]


@pytest.fixture
def in_small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PORTION", 7)


@pytest.mark.usefixtures("in_small_portions")
async def test_it_answers_the_same(
    shared: ElasticsearchStore, other: ElasticsearchStore, namespace: Namespace
) -> None:
    await filled(shared, namespace)
    elsewhere = Namespace(uuid4().hex)
    async for portion in shared.export(owner_of(namespace)):
        assert len(portion.records) <= 7
        await other.take_over(owner_of(elsewhere), portion.records)
    assert await answers(other, elsewhere) == await answers(shared, namespace)


@pytest.mark.usefixtures("in_small_portions")
async def test_it_goes_on_from_a_mark(shared: ElasticsearchStore, namespace: Namespace) -> None:
    await filled(shared, namespace)
    owner = owner_of(namespace)
    whole = [portion async for portion in shared.export(owner)]
    assert whole == [portion async for portion in shared.export(owner, START)]
    for number, portion in enumerate(whole):
        rest = [each async for each in shared.export(owner, portion.mark)]
        assert rest == whole[number + 1 :]


def _text(record: Portable) -> str:
    assert isinstance(record, StoredPassage)
    return record.passage.text


async def test_portions_are_bounded_by_their_bytes(
    shared: ElasticsearchStore, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "PORTION_BYTES", 20_000)
    texts = ["tea" * 10] * 30 + ["tea " * 1000] * 30 + ["tea" * 10] * 30
    for begin in range(0, len(texts), 10):
        stored = [passage(f"p{begin + n:03}", text) for n, text in enumerate(texts[begin:][:10])]
        await shared.insert_passages(namespace, stored)
    portions = [portion async for portion in shared.export(owner_of(namespace))]
    told = [[_text(record) for record in portion.records] for portion in portions]
    assert max(sum(map(len, each)) for each in told) <= 20_000 + 4_000, "the last fills it"
    assert [text for each in told for text in each] == texts
    for number, portion in enumerate(portions):
        rest = [each async for each in shared.export(owner_of(namespace), portion.mark)]
        left = [record for each in rest for record in each.records]
        assert left == [record for each in portions[number + 1 :] for record in each.records]


async def test_what_is_taken_over_twice_is_there_once(
    shared: ElasticsearchStore, namespace: Namespace
) -> None:
    await filled(shared, namespace)
    records: list[Portable] = []
    async for portion in shared.export(owner_of(namespace)):
        records += portion.records
    elsewhere = Namespace(uuid4().hex)
    for _ in range(2):
        await shared.take_over(owner_of(elsewhere), records)
    assert await answers(shared, elsewhere) == await answers(shared, namespace)


async def test_owners_are_told_once_each_in_order(
    shared: ElasticsearchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "OWNERS", 2)
    spaces = [Namespace(uuid4().hex) for _ in range(5)]
    await shared.commit(spaces[0], record(message("m0", "hi")))
    await shared.commit(spaces[1], record(message("m0")))
    await shared.insert_passages(spaces[2], [passage("p", "tea")])
    await shared.write_context(spaces[3], 0, "one", NodeId("m0"), S)
    await shared.insert_passages(spaces[0], [passage("p", "tea")])
    told = [owner async for owner in shared.owners()]
    assert told == sorted(set(told))
    assert {owner_of(space) for space in spaces} & set(told) == {
        owner_of(space) for space in spaces[:4]
    }


async def test_nothing_is_exported_of_nobody(
    shared: ElasticsearchStore, namespace: Namespace
) -> None:
    assert [each async for each in shared.export(owner_of(namespace), Mark(""))] == []
