"""Search by words and meaning at once, around a real store, with a model that can be foretold."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memgpt_proxy.errors import BackendUnreachable
from memgpt_proxy.memory.embedding import Embedder, Pace
from memgpt_proxy.memory.hybrid import BY_MEANING, BY_WORDS, HybridStore
from memgpt_proxy.memory.queries import Patience, Queries
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Fork, Hit, Namespace, NodeId, Page, TurnId
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.stores.vectors import Kind, Vector, VectorStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, BOB, EPOCH, branch, message, passage, record
from tests.support.concepts import Concepts
from tests.support.vector_stores import VECTOR_FAMILIES, empty_stores

DEADLINE = 20.0
QUICK = Pace(sweep=600.0, retry=0.01, longest=0.02)


class Model(Concepts):
    """A model that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.there = asyncio.Event()
        self.there.set()

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        await self.there.wait()
        return await super().embed(texts)

    async def embed_query(self, text: str) -> Vector:
        if not self.there.is_set():
            raise BackendUnreachable("The backend cannot be reached.")
        return await super().embed_query(text)


class Hybrid:
    """A store with search by meaning, the one by words alone within it, and the model."""

    def __init__(self, texts: Store, vectors: VectorStore) -> None:
        self.by_words = HotStore(texts, 2**20)
        self.vectors = vectors
        self.model = Model()
        self.embedder = Embedder(self.vectors, self.model, Telemetry(), QUICK)
        queries = Queries(self.model, Telemetry(), Patience(pause=0.0))
        self.store = HybridStore(self.by_words, self.vectors, self.embedder, queries)

    async def say(self, *texts: str, namespace: Namespace = ALICE) -> None:
        await self.store.commit(namespace, record(*branch(texts)))
        await self.embedded()

    async def embedded(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.embedder.idle.wait()

    async def found(self, query: str, namespace: Namespace = ALICE) -> list[str]:
        page = await self.store.search_messages(namespace, query, limit=500, offset=0)
        assert page.total == len(page.hits)
        return [hit.text for hit in page.hits]

    async def archived(self, query: str) -> list[str]:
        page = await self.store.search_passages(ALICE, query, limit=500, offset=0)
        assert page.total == len(page.hits)
        return [hit.text for hit in page.hits]


@asynccontextmanager
async def opened(texts: Store, vectors: VectorStore) -> AsyncIterator[Hybrid]:
    made = Hybrid(texts, vectors)
    await made.store.open()
    try:
        yield made
    finally:
        await made.store.close()


@pytest.fixture(params=VECTOR_FAMILIES)
async def hybrid(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hybrid]:
    async with empty_stores(request, tmp_path) as stores, opened(*stores) as made:
        yield made


def embedded_stores(path: Path) -> tuple[Store, VectorStore]:
    store = SqliteStore(path / "memory.db")
    return store, SqliteVectors(store)


async def test_meaning_is_found_where_words_differ(hybrid: Hybrid) -> None:
    await hybrid.say("a kitten", "an automobile", "rain")
    await hybrid.store.insert_passages(ALICE, [passage("p0", "kitten"), passage("p1", "storm")])
    await hybrid.embedded()
    assert await hybrid.found("feline") == ["a kitten"]
    assert await hybrid.archived("vehicle weather") == ["storm"]


async def test_words_and_meaning_are_fused(hybrid: Hybrid) -> None:
    """By words, newest first: "cat zebra", "cat"; by meaning: "cat", "kitten", "cat zebra".

    So "cat" has 1/62 + 1/61 = 0.0325, "cat zebra" 1/61 + 1/63 = 0.0323, "kitten" 1/62 = 0.0161.
    """
    await hybrid.say("kitten", "cat", "cat zebra", "rain")
    assert await hybrid.found("cat") == ["cat", "cat zebra", "kitten"]


async def test_an_exact_query_with_hits_gets_just_those(hybrid: Hybrid) -> None:
    texts = ["the cat A-17", "a feline", "cat A-18", "my cat is a cat"]
    await hybrid.say(*texts)
    assert await hybrid.found("A-17") == ["the cat A-17"]
    assert await hybrid.found('"my cat"') == ["my cat is a cat"]
    assert "a feline" in await hybrid.found('"no cat"')
    assert "a feline" in await hybrid.found("cat A-18")


@pytest.mark.parametrize("query", ["", "   ", "?", "\0", "\ud800", "zebra"])
async def test_a_query_that_finds_nothing(hybrid: Hybrid, query: str) -> None:
    await hybrid.say("a kitten")
    assert await hybrid.found(query) == []


async def test_what_was_just_written_is_found_by_its_words(hybrid: Hybrid) -> None:
    await hybrid.embedded()
    hybrid.model.there.clear()
    await hybrid.store.commit(ALICE, record(*branch(["my cat"])))
    await hybrid.store.insert_passages(ALICE, [passage("p0", "a car")])
    assert await hybrid.found("cat") == ["my cat"]
    assert await hybrid.archived("car") == ["a car"]
    assert await hybrid.found("feline") == []
    hybrid.model.there.set()
    await hybrid.embedded()
    assert await hybrid.found("feline") == ["my cat"]


async def test_a_model_that_is_away_leaves_the_words(hybrid: Hybrid) -> None:
    await hybrid.say("a kitten", "my cat", "a car")
    hybrid.model.there.clear()
    assert await hybrid.found("cat") == ["my cat"]
    hybrid.model.there.set()
    assert set(await hybrid.found("cat")) == {"my cat", "a kitten"}


async def test_a_model_that_was_never_there_leaves_the_words(tmp_path: Path) -> None:
    hybrid = Hybrid(*embedded_stores(tmp_path))
    hybrid.model.there.clear()
    await hybrid.store.open()
    await hybrid.store.commit(ALICE, record(*branch(["a kitten", "my cat"])))
    assert await hybrid.found("cat") == ["my cat"]
    await hybrid.store.close()


async def test_what_is_not_embedded_survives_a_restart(tmp_path: Path) -> None:
    async with opened(*embedded_stores(tmp_path)) as first:
        first.model.there.clear()
        await first.store.commit(ALICE, record(*branch(["a kitten"])))
    async with opened(*embedded_stores(tmp_path)) as second:
        await second.embedded()
        assert await second.found("feline") == ["a kitten"]


async def test_namespaces_are_apart(hybrid: Hybrid) -> None:
    await hybrid.say("a kitten", namespace=BOB)
    await hybrid.say("a car")
    assert await hybrid.found("feline") == []
    assert await hybrid.found("feline", BOB) == ["a kitten"]


async def test_hidden_passages_are_never_found(hybrid: Hybrid) -> None:
    kept = [passage("p0", "a kitten", turn=TurnId("t")), passage("p1", "a cat")]
    await hybrid.store.insert_passages(ALICE, kept)
    await hybrid.embedded()
    await hybrid.store.hide_passages(ALICE, [TurnId("t")])
    assert await hybrid.archived("feline") == ["a cat"]
    await hybrid.store.show_passages(ALICE, [TurnId("t")])
    assert set(await hybrid.archived("feline")) == {"a cat", "a kitten"}


async def test_abandoned_messages_come_last(hybrid: Hybrid) -> None:
    await hybrid.say("cats", "a feline and a cat", "kitten")
    other = message("other", "zebra cat zebra", parent=NodeId("m0"), depth=1, created=EPOCH + 9)
    fork = Fork(left=(NodeId("m1"),))
    await hybrid.store.commit(ALICE, record(other, fork=fork))
    await hybrid.embedded()
    found = await hybrid.found("cat")
    assert set(found[:2]) == {"cats", "zebra cat zebra"}
    assert found[2:] == ["kitten", "a feline and a cat"]


async def test_ids_can_be_left_out(hybrid: Hybrid) -> None:
    await hybrid.say("cat one", "a kitten", "cat two")
    page = await hybrid.store.search_messages(ALICE, "cat", limit=9, offset=0, without=["m0", "m1"])
    assert (page.total, [hit.text for hit in page.hits]) == (1, ["cat two"])


async def all_pages(
    search: Callable[..., object], namespace: Namespace, query: str, size: int
) -> tuple[set[int], list[Hit]]:
    totals: set[int] = set()
    hits: list[Hit] = []
    while True:
        page = await search(namespace, query, limit=size, offset=len(hits))  # type: ignore[misc]
        assert isinstance(page, Page)
        totals.add(page.total)
        if not page.hits:
            return totals, hits
        assert len(page.hits) == min(size, page.total - len(hits))
        hits += page.hits


@dataclass(frozen=True)
class Case:
    """Messages of three kinds, so many of each; the branch of one kind may be abandoned."""

    cats: int
    kittens: int
    both: int
    left: str | None
    query: str
    size: int


cases = st.builds(
    Case,
    cats=st.integers(0, BY_WORDS + 30),
    kittens=st.integers(0, BY_MEANING + 20),
    both=st.integers(0, 30),
    left=st.sampled_from([None, "cats", "kittens", "both"]),
    query=st.sampled_from(["cat", "feline", "cat zebra", "kitten cat", "A-1 cat", "nothing"]),
    size=st.integers(3, 60),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases)
@pytest.mark.parametrize("hybrid", ["sqlite"], indirect=True)
async def test_pages_partition_the_whole(hybrid: Hybrid, case: Case) -> None:
    await check_pages(hybrid, case)


@pytest.mark.elasticsearch
@pytest.mark.parametrize("hybrid", ["elasticsearch"], indirect=True)
@pytest.mark.parametrize(
    "case",
    [
        Case(cats=120, kittens=60, both=10, left=None, query="cat", size=20),
        Case(cats=120, kittens=12, both=10, left="kittens", query="kitten cat", size=50),
        Case(cats=12, kittens=70, both=5, left="cats", query="feline", size=7),
    ],
)
async def test_pages_partition_the_whole_of_a_fleet(hybrid: Hybrid, case: Case) -> None:
    """Branches are short: what is deeper is abandoned while pages are read already."""
    await check_pages(hybrid, case)


async def check_pages(hybrid: Hybrid, case: Case) -> None:
    namespace = Namespace(uuid.uuid4().hex)
    await write(hybrid, namespace, case)

    totals, hits = await all_pages(hybrid.store.search_messages, namespace, case.query, case.size)

    ids = [hit.id for hit in hits]
    assert len(set(ids)) == len(ids)
    assert totals == {len(ids)}
    by_words = await hybrid.by_words.search_messages(namespace, case.query, limit=1000, offset=0)
    near = await near_ids(hybrid, namespace, case.query)
    assert set(ids) == {hit.id for hit in by_words.hits} | near
    abandoned = [hit.abandoned for hit in hits]
    assert abandoned == sorted(abandoned)
    tail = [hit.id for hit in by_words.hits[BY_WORDS:] if hit.id not in near]
    assert [name for name in ids if name in set(tail)] == tail


async def write(hybrid: Hybrid, namespace: Namespace, case: Case) -> None:
    texts = {
        "cats": ["my cat"] * case.cats,
        "kittens": ["a kitten"] * case.kittens,
        "both": ["cat and kitten A-1"] * case.both,
    }
    nodes = [node for kind, said in texts.items() for node in branch(said, prefix=kind)]
    await hybrid.store.commit(namespace, record(*nodes))
    if case.left and texts[case.left]:
        fork = Fork(left=(NodeId(f"{case.left}0"),))
        await hybrid.store.commit(namespace, record(fork=fork))
    await hybrid.embedded()


async def near_ids(hybrid: Hybrid, namespace: Namespace, query: str) -> set[str]:
    vector = await hybrid.model.embed_query(query)
    measure = hybrid.embedder.measure
    assert measure is not None
    near = await hybrid.vectors.nearest(
        namespace, Kind.MESSAGE, measure.space, vector, limit=BY_MEANING
    )
    return {each.hit.id for each in near if each.similarity > measure.floor}
