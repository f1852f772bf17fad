"""What is exported of one store and taken over by another makes the same answers there."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from memgpt_proxy.stores.portable import (
    ContextVersion,
    Portable,
    PortableStore,
    StoredPassage,
)
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import (
    NO_TURN,
    ROOT,
    Conversation,
    Counts,
    Fork,
    Namespace,
    Node,
    NodeId,
    Owner,
    TurnId,
)
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.vectors import BEGINNING, Embedded, Kind, Name, Space
from tests.conftest import SHARED_PREFIX
from tests.stores.asking import answers, contents, exported, named, searches
from tests.stores.build import ALICE, BOB, EPOCH, branch, message, passage, queue, record
from tests.stores.families import Family, opened_elasticsearch, opened_sqlite
from tests.stores.portables import grown, memories
from tests.support.elasticsearch import ElasticsearchNode

OWNER = owner_of(ALICE)


@dataclass(frozen=True)
class Families:
    """Stores of two families, or of one."""

    source: Family
    destination: Family
    alike: bool


WITH_ELASTICSEARCH = [
    pytest.param(pair, marks=pytest.mark.elasticsearch)
    for pair in ("sqlite elasticsearch", "elasticsearch sqlite", "elasticsearch elasticsearch")
]


@pytest.fixture(params=["sqlite sqlite", *WITH_ELASTICSEARCH])
async def families(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Families]:
    names = request.param.split()
    async with AsyncExitStack() as stack:
        stores: list[Family] = []
        for name, part in zip(names, ("source", "destination"), strict=True):
            if name == "sqlite":
                store = opened_sqlite(tmp_path / f"{part}.db")
            else:
                node = request.getfixturevalue("elasticsearch")
                store = opened_elasticsearch(node.url)
            stores.append(await stack.enter_async_context(store))
        yield Families(stores[0], stores[1], alike=names[0] == names[1])


@pytest.fixture
def source(families: Families) -> Family:
    return families.source


@pytest.fixture
def destination(families: Families) -> Family:
    return families.destination


async def live_a_little(store: Family, namespace: Namespace) -> None:
    """Leave a record of every kind behind, in every state."""
    nodes = branch(["alpha beta", "", "alpha", "beta alpha gamma", "alpha-7", "last"])
    nodes = [replace(node, created=EPOCH + node.depth // 2 + 0.123456) for node in nodes]
    nodes[3] = replace(nodes[3], turn=TurnId("t"), complete=False)
    await store.commit(namespace, record(*nodes[:4], queues=[queue("m1", start=0)]))
    await store.commit(namespace, record(*nodes[4:], queues=[queue("m5", start=3)]))
    other = message("n4", "alpha other", parent=NodeId("m3"), depth=4, created=EPOCH + 9)
    twin = message("m0+", "alpha beta", key=NodeId("m0"), created=EPOCH + 10)
    fork = Fork(left=(NodeId("m4"),), kept=(NodeId("m5"),))
    named_one = Conversation(NodeId("name"), other.id, resends=True)
    await store.commit(namespace, record(other, twin, fork=fork, conversation=named_one))
    for version, turn in enumerate([NO_TURN, TurnId("t"), TurnId("t"), TurnId("u")]):
        content = "alpha\n" * version
        await store.write_context(namespace, version, content, NodeId(f"m{version}"), turn)
    passages = [passage(f"p{at}", f"alpha {at}", EPOCH + at) for at in range(4)]
    mine = [passage(f"q{at}", "alpha beta", EPOCH, TurnId("t")) for at in range(3)]
    await store.insert_passages(namespace, [*passages, *mine])
    await store.hide_passages(namespace, [TurnId("t")])


async def move(store: PortableStore, to: PortableStore, owner: Owner) -> list[Portable]:
    async for portion in store.export(owner):
        await to.take_over(owner, portion.records)
    return await exported(store, owner)


async def test_another_store_answers_the_same(families: Families) -> None:
    source, destination = families.source, families.destination
    await live_a_little(source, ALICE)
    await live_a_little(source, BOB)
    records = await move(source, destination, OWNER)
    there = await answers(destination, ALICE, records, ranked=families.alike)
    assert there == await answers(source, ALICE, records, ranked=families.alike)
    assert await destination.counts(ALICE) == Counts(messages=7, passages=4)
    assert await destination.counts(BOB) == Counts(0, 0)
    assert by_name(await exported(destination, OWNER)) == by_name(records)


async def test_every_kind_is_exported(source: Family) -> None:
    await live_a_little(source, ALICE)
    records = await exported(source, OWNER)
    kinds = [name for name, _ in map(named, records)]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "context": 4,
        "queue": 2,
        "node": 8,
        "passage": 7,
        "conversation": 1,
    }
    assert await source.size(OWNER) == await source.size(None) == len(records)
    assert await source.size(owner_of(BOB)) == 0


async def test_taking_over_again_changes_nothing(source: Family, destination: Family) -> None:
    await live_a_little(source, ALICE)
    records = await move(source, destination, OWNER)
    before = await answers(destination, ALICE, records)
    await move(source, destination, OWNER)
    assert await answers(destination, ALICE, records) == before


async def test_the_memory_goes_on_where_it_came_to(families: Families) -> None:
    source, destination = families.source, families.destination
    await live_a_little(source, ALICE)
    await move(source, destination, OWNER)
    for store in (source, destination):
        await store.show_passages(ALICE, [TurnId("t")])
        fork = Fork(left=(NodeId("n4"),), taken_up=NodeId("m4"))
        further = message("m6", "alpha at last", parent=NodeId("m5"), depth=6, created=EPOCH + 20)
        await store.commit(ALICE, record(further, fork=fork))
        await store.write_context(ALICE, 4, "beta", NodeId("m6"), NO_TURN)
    records = await exported(source, OWNER)
    assert by_name(await exported(destination, OWNER)) == by_name(records)
    there = await answers(destination, ALICE, records, ranked=families.alike)
    assert there == await answers(source, ALICE, records, ranked=families.alike)


async def test_of_equally_new_messages_the_one_stored_last_stays_the_newest(
    source: Family, destination: Family
) -> None:
    for name in ("z", "y", "a", "k"):
        twin = message(name, content=contents("yes")[0], key=NodeId("same"))
        await source.commit(ALICE, record(twin))
    await move(source, destination, OWNER)
    found = await destination.with_content(ALICE, contents("yes"), limit=3)
    assert [node.id for node in found] == ["k", "a", "y"]
    turn = await destination.read_turn(ALICE, [NodeId("same")], enough=1)
    assert [node.id for node in turn.nodes] == ["k"]


async def test_a_node_keeps_its_queue_when_its_queue_state_comes_later(
    destination: Family,
) -> None:
    node = message("m1", queue=NodeId("m0"))
    await destination.take_over(OWNER, [node])
    await destination.take_over(OWNER, [queue("m1", start=0)])
    assert node in await exported(destination, OWNER)
    await destination.take_over(OWNER, [replace(node, queue=NodeId("m1")), queue("m1", start=1)])
    turn = await destination.read_turn(ALICE, [NodeId("m1")], enough=1)
    assert turn.queue == queue("m1", start=1)


async def test_an_export_goes_on_from_every_mark(source: Family) -> None:
    nodes = branch([f"alpha {at}" for at in range(600)], prefix="x")
    await source.commit(ALICE, record(*nodes))
    await live_a_little(source, ALICE)
    portions = [portion async for portion in source.export(OWNER)]
    assert len(portions) > 5
    assert max(len(portion.records) for portion in portions) <= 500
    for at, portion in enumerate(portions):
        behind = [each for later in portions[at + 1 :] for each in later.records]
        assert await exported(source, OWNER, portion.mark) == behind


async def test_a_portion_of_long_texts_has_few_records(tmp_path: Path) -> None:
    books = [passage(f"p{at}", "alpha " * 200_000) for at in range(12)]
    async with opened_sqlite(tmp_path / "memory.db") as source:
        await source.insert_passages(ALICE, books)
        portions = [portion async for portion in source.export(OWNER)]
    assert len(portions) == 3
    assert [each for portion in portions for each in portion.records] == [
        StoredPassage(book, hidden=False) for book in books
    ]


async def test_a_version_that_a_message_has_seen_is_exported_with_it(tmp_path: Path) -> None:
    """Also where a turn writes both while the export is under way."""
    seen = message("m1", "Mia", parent=NodeId("m0"), depth=1, context_version=2)
    async with opened_sqlite(tmp_path / "memory.db") as source:
        await source.commit(ALICE, record(message("m0", "hi"), queues=[queue("m0", start=0)]))
        await source.write_context(ALICE, 0, "Cat: Mia", NodeId("m0"), NO_TURN)
        portions = source.export(OWNER)
        records = [each for _ in range(2) for each in (await anext(portions)).records]
        await source.write_context(ALICE, 1, "Cat: Mia, four", NodeId("m0"), NO_TURN)
        await source.commit(ALICE, record(seen))
        records += [each async for portion in portions for each in portion.records]
    versions = {each.version for each in records if isinstance(each, ContextVersion)}
    assert {each.context_version for each in records if isinstance(each, Node)} <= {0, *versions}


async def test_all_owners_are_named_in_order_each_once(source: Family) -> None:
    records: list[Portable] = [
        message("m"),
        queue("m", start=0),
        StoredPassage(passage("p", "alpha"), hidden=True),
        ContextVersion(1, "alpha", ROOT, NO_TURN),
        Conversation(NodeId("name"), ROOT, resends=False),
    ]
    names = [Owner(str(number)) for number in range(1_203)]
    taken = (source.take_over(name, [records[at % 5]]) for at, name in enumerate(names))
    await asyncio.gather(*taken, source.take_over(names[0], records))
    assert [owner async for owner in source.owners()] == sorted(names)


async def test_a_record_that_cannot_be_stored_leaves_nothing_behind(
    destination: Family,
) -> None:
    with pytest.raises(StoreError):
        await destination.take_over(OWNER, [queue("m", start=1), message("m", depth=2**80)])
    assert await exported(destination, OWNER) == []


async def lacking_in(vectors: SqliteVectors, space: Space) -> list[Name]:
    names: list[Name] = []
    place, more = BEGINNING, True
    while more:
        found = await vectors.lacking(space, place, limit=9)
        names += [each.name for each in found.texts if each.name not in names]
        more, place = found.more and found.place != place, found.place
    return names


def named_m_and_p(text: str) -> list[Portable]:
    return [message("m", text), StoredPassage(passage("p", text), hidden=False)]


async def test_a_text_that_is_replaced_loses_its_vector(tmp_path: Path) -> None:
    plane, name = Space("plane", 2), Name(OWNER, Kind.PASSAGE, "p")
    said = Name(OWNER, Kind.MESSAGE, "m")
    vector = np.array([1, 0], np.float32)
    async with opened_sqlite(tmp_path / "memory.db") as store:
        assert isinstance(store, SqliteStore)
        vectors = SqliteVectors(store)
        await vectors.open()
        old: list[Portable] = [
            message("m", "alpha"),
            StoredPassage(passage("p", "alpha"), hidden=False),
        ]
        for text, lacking in (("alpha", []), ("beta", [said, name])):
            await store.take_over(OWNER, old)
            await vectors.put_vectors(plane, [Embedded(each, vector) for each in (said, name)])
            new: list[Portable] = [
                message("m", text),
                StoredPassage(passage("p", text), hidden=False),
            ]
            await store.take_over(OWNER, new)
            assert await lacking_in(vectors, plane) == lacking
        await vectors.close()


def by_name(records: Sequence[Portable]) -> list[Portable]:
    return sorted(records, key=lambda record: tuple(map(str, named(record))))


async def _check(
    older: list[Portable], records: list[Portable], pieces: list[int], directory: Path
) -> None:
    stores = [SqliteStore(directory / f"{name}.db") for name in ("first", "second", "third")]
    async with AsyncExitStack() as stack:
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
        first, second, third = stores
        rest = records
        for piece in pieces:
            await first.take_over(OWNER, rest[:piece])
            rest = rest[piece:]
        await first.take_over(OWNER, rest)
        assert by_name(await exported(first, OWNER)) == by_name(records)
        await move(first, second, OWNER)
        expected = await answers(first, ALICE, records)
        assert await answers(second, ALICE, records) == expected
        names = {named(each) for each in records}
        await third.take_over(OWNER, [each for each in older if named(each) in names])
        await move(first, third, OWNER)
        assert by_name(await exported(third, OWNER)) == by_name(records)
        assert await third.counts(ALICE) == await first.counts(ALICE)
        assert await searches(third, ALICE) == await searches(first, ALICE)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(memories(), memories(), st.lists(st.integers(0, 4), max_size=4))
def test_any_records_come_through(
    older: list[Portable], records: list[Portable], pieces: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_check(older, records, pieces, Path(directory)))


async def _check_there_and_back(records: list[Portable], url: str, directory: Path) -> None:
    """Move records to Elasticsearch and back; all three stores say the same."""
    person = Namespace(uuid4().hex)
    owner = owner_of(person)
    async with AsyncExitStack() as stack:
        first, last = [
            await stack.enter_async_context(opened_sqlite(directory / f"{name}.db"))
            for name in ("first", "last")
        ]
        there = opened_elasticsearch(url, SHARED_PREFIX, keep=True)
        amid = await stack.enter_async_context(there)
        await first.take_over(owner, records)
        await move(first, amid, owner)
        await move(amid, last, owner)
        expected = await answers(first, person, records, ranked=False)
        assert await answers(amid, person, records, ranked=False) == expected
        assert await answers(last, person, records) == await answers(first, person, records)
        assert by_name(await exported(last, owner)) == by_name(records)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.elasticsearch
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(records=memories().map(grown))
def test_any_records_go_there_and_come_back(
    elasticsearch: ElasticsearchNode, records: list[Portable]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_check_there_and_back(records, elasticsearch.url, Path(directory)))
