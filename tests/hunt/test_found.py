from __future__ import annotations
import asyncio
from pathlib import Path
from unicodedata import normalize
import pytest
from starlette.responses import JSONResponse
from memgpt_proxy.memory.hybrid import HybridStore
from memgpt_proxy.stores.vectors import BEGINNING
from memgpt_proxy.memory.undo import apply
from memgpt_proxy.stores.limits import Rates
from memgpt_proxy.stores.redis import connect
from memgpt_proxy.stores.redis.limits import RedisLimiter
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, BOB, branch, message, passage, record
from tests.support.embedding_server import EmbeddingServer, refusal
from tests.support.redis_server import RedisServer
from tests.memory.test_embedding import embedding, all_done, store, vectors, server, SPACE


@pytest.mark.parametrize("query", ['"Café Central"', "Café-42", "Müller_7"])
async def test_composed_query_finds_decomposed_text(tmp_path, query):
    """As a Mac's file names and what is copied from them are written; a note of the model's."""
    from memgpt_proxy.memory.archival import cut
    from memgpt_proxy.stores.records import NodeId

    s = SqliteStore(tmp_path / "memory.db")
    await s.open()
    text = normalize("NFD", "We met at Café Central, order Café-42 by Müller_7.")
    await s.insert_passages(ALICE, cut(text, NodeId("m"), 1.0))
    found = await s.search_passages(ALICE, query, limit=10, offset=0)
    await s.close()
    assert found.total == 1


@pytest.mark.slow
async def test_one_text_that_breaks_the_server_keeps_no_other_from_its_vector(
    server, store, vectors
):
    """Ollama and vLLM answer 500 where a model gives NaN for a text."""
    nan = JSONResponse({"error": {"message": "json: unsupported value: NaN"}}, 500)
    server.refuses = lambda body: nan if any("poison" in each for each in body["input"]) else None
    async with embedding(server, vectors) as embedder:
        hybrid = HybridStore(store, vectors, embedder, None)
        await hybrid.commit(ALICE, record(*branch(["poison"])))
        for n in range(100):
            await hybrid.commit(BOB, record(*branch([f"cars {n}"], f"x{n}_")))
        await asyncio.sleep(3)
        lacking = await vectors.lacking(SPACE, BEGINNING, limit=1000)
    assert not [each.text for each in lacking.texts if each.text != "poison"]


def test_undo_keeps_the_characters_of_other_lines():
    before = "name: Ann\u2028Lee"
    after = before + "\nlikes tea"
    assert apply(after, after, before) == before


@pytest.mark.redis
async def test_limit_that_is_set_later_begins_full(redis_server: RedisServer):
    redis = connect(redis_server.url)
    key = Namespace("alice")
    only_requests = RedisLimiter(redis, Rates(requests=60))
    for _ in range(60):
        assert (await only_requests.admit(key)).admitted
        await only_requests.spend(key, 5_000)
    both = RedisLimiter(redis, Rates(requests=120, tokens=10_000))
    standing = await both.admit(key)
    await redis.close()
    assert standing.admitted, standing


@pytest.mark.parametrize(
    "text",
    [
        "we saw six\r\nflags",
        "we saw six  flags",
        "we saw six\tflags",
        "we saw six\u00a0flags",
        "six\nflags",
    ],
)
async def test_a_phrase_is_found_across_any_white_space(tmp_path, text):
    s = SqliteStore(tmp_path / "memory.db")
    await s.open()
    await s.commit(ALICE, record(*branch([text])))
    found = await s.search_messages(ALICE, '"six flags"', limit=10, offset=0)
    await s.close()
    assert found.total == 1


@pytest.mark.slow
async def test_nothing_of_an_erased_memory_is_sent_to_be_embedded(server, store, vectors):
    """What was on its way when its memory was erased, and failed, is not tried again."""
    async with embedding(server, vectors) as embedder:
        await all_done(embedder)
        hybrid = HybridStore(store, vectors, embedder, None)
        server.held.clear()
        before = len(server.requests)
        await hybrid.commit(ALICE, record(*branch(["a secret"])))
        while len(server.requests) == before:
            await asyncio.sleep(0.01)
        server.failures.extend(JSONResponse({"error": {}}, 503) for _ in range(1))
        await hybrid.erase(ALICE)
        erased = len(server.requests)
        server.held.set()
        await asyncio.sleep(1)
    sent = [text for each in server.requests[erased:] for text in each["input"]]
    assert "a secret" not in sent


@pytest.mark.slow
async def test_a_query_that_the_model_refuses_is_nobody_elses_pause(server, store, vectors):
    from memgpt_proxy.backend.client import Backend, Timeouts
    from memgpt_proxy.backend.embeddings import Embeddings
    from memgpt_proxy.backend.http1 import Http1Transport
    from memgpt_proxy.memory.queries import Queries
    from memgpt_proxy.telemetry import Telemetry

    transport = Http1Transport(4)
    backend = Backend(server.base_url, transport, api_key=None, timeouts=Timeouts(5.0, 5.0))
    queries = Queries(Embeddings(backend, "concepts", Telemetry()), Telemetry())
    assert await queries.vector("cars") is not None
    server.refuses = lambda body: (
        refusal(400, "input is too long") if any(len(t) > 500 for t in body["input"]) else None
    )
    assert await queries.vector("word " * 200) is None
    found = await queries.vector("boats")
    await transport.aclose()
    assert found is not None
