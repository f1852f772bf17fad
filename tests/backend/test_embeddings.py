"""The embeddings client against a real server: batches, order, retries, cut texts, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.backend.embeddings import (
    LONGEST_TEXT,
    MOST_CHARACTERS,
    MOST_TEXTS,
    Embeddings,
    batches,
    read_answer,
)
from memgpt_proxy.backend.http1 import Http1Transport
from memgpt_proxy.backend.retrying import Retries
from memgpt_proxy.errors import BackendBroken, BackendRefused, BackendUnreachable
from memgpt_proxy.telemetry import Telemetry
from tests.support.concepts import unit
from tests.support.embedding_server import EmbeddingServer, refusal
from tests.support.scrape import samples

pytestmark = pytest.mark.slow

Connect = Callable[..., Embeddings]

AT_ONCE = Retries(attempts=4, pause=0.0)


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as started:
        yield started


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def connect(server: EmbeddingServer, telemetry: Telemetry) -> AsyncIterator[Connect]:
    transport = Http1Transport(4)

    def connected(retries: Retries = AT_ONCE, key: str | None = None) -> Embeddings:
        timeouts = Timeouts(connect=5.0, idle=5.0)
        backend = Backend(server.base_url, transport, api_key=key, timeouts=timeouts)
        return Embeddings(backend, "concepts", telemetry, retries)

    yield connected
    await transport.aclose()


def same(vectors: object, texts: list[str]) -> bool:
    return np.allclose(vectors, [unit(text) for text in texts], atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("knows_base64", [True, False])
async def test_vectors_come_in_the_order_of_the_texts(
    server: EmbeddingServer, connect: Connect, knows_base64: bool
) -> None:
    server.knows_base64 = knows_base64
    embeddings = connect()
    assert same(await embeddings.embed(["cat", "car", "rain"]), ["cat", "car", "rain"])
    assert same([await embeddings.embed_query("a feline")], ["a feline"])
    formats = [request.get("encoding_format") for request in server.requests]
    assert formats == (["base64"] * 2 if knows_base64 else ["base64", None, None])
    assert {request["model"] for request in server.requests} == {"concepts"}


async def test_nothing_is_asked_for_no_texts(server: EmbeddingServer, connect: Connect) -> None:
    assert await connect().embed([]) == []
    assert server.requests == []


@pytest.mark.parametrize("key", [None, "sk-embed"])
async def test_the_key_goes_along(server: EmbeddingServer, connect: Connect, key: str) -> None:
    await connect(key=key).embed(["cat"])
    assert server.keys == [f"Bearer {key}" if key else None]


async def test_many_texts_go_in_batches(server: EmbeddingServer, connect: Connect) -> None:
    texts = [f"cat {'rain ' * (number % 5)}" for number in range(100)]
    assert same(await connect().embed(texts), texts)
    assert server.texts == texts
    assert max(len(request["input"]) for request in server.requests) <= MOST_TEXTS


@given(st.lists(st.integers(0, MOST_CHARACTERS + 10), max_size=200))
def test_batches_are_bounded_and_whole(lengths: list[int]) -> None:
    texts = ["x" * length for length in lengths]
    made = list(batches(texts))
    assert [text for batch in made for text in batch] == texts
    for batch in made:
        assert 0 < len(batch) <= MOST_TEXTS
        assert len(batch) == 1 or sum(map(len, batch)) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    "failure",
    [
        lambda: refusal(429, "slow down"),
        lambda: refusal(429, "slow down", {"retry-after": "0"}),
        lambda: refusal(503, "loading"),
        lambda: refusal(500, "oops"),
        lambda: Response(b"not JSON"),
        lambda: Response(b'{"data": []}'),
    ],
)
async def test_what_may_pass_is_tried_again(
    server: EmbeddingServer, connect: Connect, failure: Callable[[], Response]
) -> None:
    server.failures += [failure() for _ in range(3)]
    assert same(await connect().embed(["cat"]), ["cat"])
    assert len(server.requests) == 4


async def test_a_failure_that_stays_is_told(server: EmbeddingServer, connect: Connect) -> None:
    server.failures += [refusal(503, "loading") for _ in range(4)]
    with pytest.raises(BackendRefused) as told:
        await connect().embed(["cat"])
    assert told.value.status == 503
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [401, 403, 404, 501])
async def test_what_will_not_pass_is_told_at_once(
    server: EmbeddingServer, connect: Connect, status: int
) -> None:
    server.failures.append(refusal(status, "no"))
    with pytest.raises(BackendRefused):
        await connect().embed(["cat"])
    assert len(server.requests) == 1


async def test_a_query_is_tried_once(server: EmbeddingServer, connect: Connect) -> None:
    server.failures.append(refusal(503, "loading"))
    with pytest.raises(BackendRefused):
        await connect().embed_query("cat")
    assert len(server.requests) == 1


async def test_a_server_that_is_away(server: EmbeddingServer, connect: Connect) -> None:
    server.stop()
    with pytest.raises(BackendUnreachable):
        await connect().embed(["cat"])
    server.start()


async def test_each_call_is_measured(
    server: EmbeddingServer, connect: Connect, telemetry: Telemetry
) -> None:
    server.failures.append(refusal(503, "loading"))
    await connect().embed(["kitten"])
    told = samples(telemetry.exposition("")[0].decode())
    assert {
        tuple(sorted(each.labels.items())): each.value
        for each in told
        if each.name == "gen_ai_client_inference_duration_seconds_count"
    } == {
        (
            ("error_type", error),
            ("gen_ai_operation_name", "embeddings"),
            ("gen_ai_request_model", "concepts"),
        ): 1
        for error in ("503", "")
    }


async def test_its_tokens_are_counted(connect: Connect, telemetry: Telemetry) -> None:
    """The server takes each text for one token."""
    await connect().embed(["kitten", "car"])
    await connect().embed_query("rain")
    told = samples(telemetry.exposition("")[0].decode())
    name = "gen_ai_client_inference_operation_input_tokens"
    labels = {"gen_ai_operation_name": "embeddings", "gen_ai_request_model": "concepts"}
    assert {
        each.name: each.value
        for each in told
        if each.labels == labels and each.name in (f"{name}_sum", f"{name}_count")
    } == {f"{name}_sum": 3, f"{name}_count": 2}


async def test_long_texts_are_cut(server: EmbeddingServer, connect: Connect) -> None:
    await connect().embed(["cat " * LONGEST_TEXT])
    assert [len(text) for text in server.texts] == [LONGEST_TEXT]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 512 tokens, however you requested 900."),
        (413, "Payload too large"),
        (500, "input is too large to process. increase the physical batch size"),
    ],
)
async def test_texts_that_are_too_long_for_the_model_are_cut_until_they_fit(
    server: EmbeddingServer, connect: Connect, status: int, message: str
) -> None:
    def refuse(request: dict) -> Response | None:
        too_long = any(len(text) > 1500 for text in request["input"])
        return refusal(status, message) if too_long else None

    server.refuses = refuse
    embeddings = connect()
    vectors = await embeddings.embed(["car", "cat " * 1000, "rain"])
    assert same(vectors, ["car", "cat " * 250, "rain"])
    server.requests.clear()
    await embeddings.embed(["cat " * 1000])
    assert [len(text) for text in server.texts] == [1000]  # 4000, halved twice: it was learned


@pytest.mark.parametrize(
    "failure",
    [
        lambda: refusal(422, "content filtered"),
        lambda: refusal(500, "json: unsupported value: NaN"),  # as Ollama answers
        lambda: Response(b"not JSON"),
    ],
)
async def test_a_text_that_the_model_never_takes_has_no_vector(
    server: EmbeddingServer, connect: Connect, failure: Callable[[], Response]
) -> None:
    def refuse(request: dict) -> Response | None:
        return failure() if any("odd" in text for text in request["input"]) else None

    server.refuses = refuse
    first, odd, last = await connect().embed(["cat", "odd " * 500, "car"])
    assert odd is None
    assert same([first, last], ["cat", "car"])


@pytest.mark.parametrize("status", [400, 500])
async def test_a_model_that_takes_nothing_is_no_fault_of_the_texts(
    server: EmbeddingServer, connect: Connect, status: int
) -> None:
    server.refuses = lambda _: refusal(status, "this is no embedding model")
    with pytest.raises(BackendRefused):
        await connect().embed(["cat", "car"])


def answer(*embeddings: object) -> bytes:
    data = [{"index": index, "embedding": each} for index, each in enumerate(embeddings)]
    return orjson.dumps({"data": data})


def test_vectors_get_the_length_one() -> None:
    (vector,) = read_answer(answer([3.0, 4.0]), 1).vectors
    assert np.allclose(vector, [0.6, 0.8])  # type: ignore[arg-type]
    assert vector is not None
    assert vector.dtype == np.float32


@pytest.mark.parametrize("embedding", [[0.0, 0.0], [None, 1.0], "AADAfwAAgD8="])
def test_a_vector_without_direction_is_none(embedding: object) -> None:
    """Zeros, and what stands for NaN in JSON and base64."""
    assert read_answer(answer(embedding), 1).vectors == [None]


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": [1]}',
        b'{"data": [{"index": 1, "embedding": [1.0]}]}',
        answer("not base64!"),
        answer("AAA="),
        answer([]),
        answer([1.0], [1.0]),
        answer([[1.0]]),
        answer(["x"]),
        answer({"a": 1}),
    ],
)
def test_any_other_answer_is_broken(wrong: bytes) -> None:
    with pytest.raises(BackendBroken):
        read_answer(wrong, 1)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7, "total_tokens": 7}, 7),
        ({"prompt_tokens": 0}, 0),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": "7"}, None),
        ({}, None),
        (None, None),
        ([7], None),
    ],
)
def test_tokens_are_what_the_server_says(usage: object, tokens: int | None) -> None:
    told = orjson.dumps({**orjson.loads(answer([1.0])), "usage": usage})
    assert read_answer(told, 1).tokens == tokens


@given(st.recursive(st.none() | st.floats() | st.text() | st.integers(0, 3), st.lists))
def test_no_answer_breaks_the_reader(embedding: object) -> None:
    with_it = answer(embedding)
    try:
        (vector,) = read_answer(with_it, 1).vectors
    except BackendBroken:
        return
    assert vector is None or np.isclose(np.linalg.norm(vector), 1.0)


def test_vectors_of_two_sizes_are_broken() -> None:
    with pytest.raises(BackendBroken):
        read_answer(answer([1.0], [1.0, 2.0]), 2)
