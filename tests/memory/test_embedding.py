"""The embedder with a real store and a real embedding server: what is away comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.backend.embeddings import Embeddings
from memgpt_proxy.backend.http1 import Http1Transport
from memgpt_proxy.backend.retrying import Retries
from memgpt_proxy.memory.embedding import MOST_CHARACTERS, MOST_WAITING, UNRELATED, Embedder, Pace
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.vectors import BEGINNING, Kind, Name, Place, Space, Text
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, BOB, branch, message, passage, record
from tests.support.concepts import concepts, unit
from tests.support.embedding_server import EmbeddingServer, refusal
from tests.support.process import until

pytestmark = pytest.mark.slow

DEADLINE = 20.0
QUICK = Pace(sweep=600.0, retry=0.01, longest=0.02)
DIMENSIONS = len(concepts(""))
SPACE = Space("concepts", DIMENSIONS)


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as started:
        yield started


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "memory.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def vectors(store: SqliteStore) -> AsyncIterator[SqliteVectors]:
    opened = SqliteVectors(store)
    await opened.open()
    yield opened
    await opened.close()


@asynccontextmanager
async def embedding(
    server: EmbeddingServer, vectors: SqliteVectors, model: str = "concepts"
) -> AsyncIterator[Embedder]:
    """An embedder at work."""
    transport = Http1Transport(4)
    backend = Backend(server.base_url, transport, api_key=None, timeouts=Timeouts(5.0, 5.0))
    retries = Retries(attempts=1)
    telemetry = Telemetry()
    embeddings = Embeddings(backend, model, telemetry, retries)
    embedder = Embedder(vectors, embeddings, telemetry, QUICK)
    task = asyncio.get_running_loop().create_task(embedder.run())
    try:
        yield embedder
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await transport.aclose()


async def all_done(embedder: Embedder) -> None:
    async with asyncio.timeout(DEADLINE):
        await embedder.idle.wait()


async def lacking(vectors: SqliteVectors, space: Space = SPACE) -> list[str]:
    place = BEGINNING
    while True:
        found = await vectors.lacking(space, place, limit=9999)
        if found.texts or not found.more:
            return [text.name.id for text in found.texts]
        place = Place(found.place)


def written(*names: str) -> list[Text]:
    """Messages of Alice's, as they are told to the embedder."""
    return [Text(Name(owner_of(ALICE), Kind.MESSAGE, name), f"text {name}") for name in names]


async def near(vectors: SqliteVectors, query: str, space: Space = SPACE) -> list[str]:
    found = await vectors.nearest(ALICE, Kind.MESSAGE, space, unit(query), limit=9)
    return [each.hit.text for each in found if each.similarity > 0.5]


async def test_what_the_store_has_is_embedded_at_the_start(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    texts = [f"text {number}" for number in range(300)]
    await store.commit(ALICE, record(*branch(texts)))
    await store.commit(BOB, record(message("b0", "a car")))
    await store.insert_passages(BOB, [passage("p0", "a kitten")])
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
    assert await lacking(vectors) == []
    asked = sorted(server.texts)
    assert asked == sorted([*texts, "a car", "a kitten", *UNRELATED])


async def test_what_is_written_is_embedded_at_once(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
        await store.commit(ALICE, record(message("m0", "a kitten")))
        owner = owner_of(ALICE)
        embedder.wrote([Text(Name(owner, Kind.MESSAGE, "m0"), "a kitten")])
        assert not embedder.idle.is_set()
        await all_done(embedder)
        assert await near(vectors, "cats") == ["a kitten"]
    assert server.texts == [*UNRELATED, "a kitten"]


async def test_the_floor_is_the_similarity_of_what_is_unrelated(
    server: EmbeddingServer, vectors: SqliteVectors
) -> None:
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
    units = np.stack([unit(text) for text in UNRELATED])
    products = units @ units.T
    assert embedder.measure is not None
    assert embedder.measure.space == SPACE
    highest = products[~np.eye(len(units), dtype=bool)].max()
    assert embedder.measure.floor == pytest.approx(highest, abs=1e-5)
    assert highest < 1.0


async def test_a_server_that_is_away_is_waited_for(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    server.stop()
    async with embedding(server, vectors) as embedder:
        await store.commit(ALICE, record(*branch(["a kitten", "a car"])))
        embedder.wrote(written("m0", "m1"))
        server.start()
        await all_done(embedder)
        server.stop()
        await store.commit(ALICE, record(message("x", "a cat")))
        embedder.wrote([Text(Name(owner_of(ALICE), Kind.MESSAGE, "x"), "a cat")])
        server.start()
        await all_done(embedder)
    assert await lacking(vectors) == []


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_server_that_fails_is_waited_for(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors, status: int
) -> None:
    await store.commit(ALICE, record(*branch(["a kitten", "a car"])))
    server.failures += [refusal(status, "no") for _ in range(3)]
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
    assert await lacking(vectors) == []
    assert not server.failures


@pytest.mark.parametrize("status", [422, 500])
async def test_a_text_that_is_refused_holds_up_nothing(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors, status: int
) -> None:
    """Ollama and vLLM fail at a text that their model makes NaN of."""

    def refuse(request: dict) -> object:
        return refusal(status, "no") if any("odd" in text for text in request["input"]) else None

    server.refuses = refuse  # type: ignore[assignment]
    await store.commit(ALICE, record(*branch(["a kitten", "odd", "a car"])))
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
    assert await lacking(vectors) == []
    assert await near(vectors, "feline") == ["a kitten"]


@pytest.mark.parametrize(
    ("status", "hint"), [(401, " Is embedding_api_key set, and right?"), (404, "")]
)
async def test_what_it_waits_for_is_told_once(
    server: EmbeddingServer,
    vectors: SqliteVectors,
    caplog: pytest.LogCaptureFixture,
    status: int,
    hint: str,
) -> None:
    server.failures.extend([refusal(status, "no")] * 3)
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
    place = server.base_url.removeprefix("http://").removesuffix("/v1")
    why = f"The backend answered with status {status}."
    [said] = [record.getMessage() for record in caplog.records]
    assert said == f"embedding waits: concepts at {place}: {why}{hint}"


async def test_another_model_embeds_all_anew(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    await store.commit(ALICE, record(*branch(["a kitten", "a car"])))
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
    other = Space("other", DIMENSIONS)
    assert await near(vectors, "feline", other) == []
    async with embedding(server, vectors, model="other") as embedder:
        await all_done(embedder)
    assert await near(vectors, "feline", other) == ["a kitten"]
    assert await near(vectors, "feline") == []
    assert await lacking(vectors, other) == []


async def test_another_model_by_the_same_name_is_noticed(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    await store.commit(ALICE, record(*branch(["a kitten"])))
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
        server.model = longer
        await store.commit(ALICE, record(message("later", "text later")))
        embedder.wrote(written("later"))
        await all_done(embedder)
        assert embedder.measure is not None
        assert embedder.measure.space == Space("concepts", DIMENSIONS + 1)
    assert await lacking(vectors, Space("concepts", DIMENSIONS + 1)) == []


def longer(text: str) -> Sequence[float]:
    return [*concepts(text), 0.5]


async def test_more_than_may_wait_is_found_in_the_store(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
        server.held.clear()
        names = [f"m{number}" for number in range(MOST_WAITING + 1)]
        await store.commit(ALICE, record(*branch([f"text {name}" for name in names])))
        embedder.wrote(written(*names))
        server.held.set()
        await all_done(embedder)
    assert await lacking(vectors) == []


async def test_long_texts_are_told_by_their_beginning(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    long = "cat " * MOST_CHARACTERS
    await store.commit(ALICE, record(message("m0", long)))
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
        await store.commit(ALICE, record(message("m1", long)))
        embedder.wrote([Text(Name(owner_of(ALICE), Kind.MESSAGE, "m1"), long)])
        await all_done(embedder)
    assert server.texts[-2:] == [long[:MOST_CHARACTERS]] * 2


async def test_two_that_embed_one_store_agree(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    texts = [f"text {number}" for number in range(200)]
    await store.commit(ALICE, record(*branch(texts)))
    async with embedding(server, vectors) as one, embedding(server, vectors) as other:
        await all_done(one)
        await all_done(other)
    assert await lacking(vectors) == []
    assert set(server.texts) == {*texts, *UNRELATED}
    assert len(server.texts) < 2 * len(texts)


async def test_what_is_embedded_is_not_lost_by_being_stopped(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    """Stopped while the server is held up; another embeds what the first had taken."""
    await store.commit(ALICE, record(*branch(["a kitten"])))
    server.held.clear()
    async with embedding(server, vectors) as embedder:
        embedder.wrote(written("m0"))
        assert await lacking(vectors) == ["m0"]
    server.held.set()
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
    assert await lacking(vectors) == []


async def test_what_was_on_its_way_when_it_was_forgotten_is_not_tried_again(
    server: EmbeddingServer, store: SqliteStore, vectors: SqliteVectors
) -> None:
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
        await store.commit(BOB, record(message("b0", "a car")))
        server.held.clear()
        erased = Text(Name(owner_of(ALICE), Kind.MESSAGE, "m0"), "a secret")
        embedder.wrote([erased, Text(Name(owner_of(BOB), Kind.MESSAGE, "b0"), "a car")])
        await asyncio.to_thread(until, lambda: "a secret" in server.texts)
        embedder.forget(owner_of(ALICE))
        server.failures.append(refusal(503, "no"))
        server.held.set()
        await all_done(embedder)
    assert server.texts == [*UNRELATED, "a secret", "a car", "a car"]
