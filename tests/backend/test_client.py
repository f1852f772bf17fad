"""The client of a backend: what it sends, what it takes, and what a failure is called."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from memgpt_proxy.backend.client import Backend, Timeouts, map_transport_error
from memgpt_proxy.backend.http1 import ProxyFailed
from memgpt_proxy.errors import (
    BackendBroken,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    GatewayError,
)

EVENTS = {"content-type": "text/event-stream"}


class Bytes(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), 7):
            yield self._data[at : at + 7]


def backend(answer: Any, api_key: str | None = None) -> Backend:
    return Backend(
        "http://backend/v1/", httpx.MockTransport(answer), api_key=api_key, timeouts=Timeouts(2, 3)
    )


async def chunks(answer: Any) -> list[Any]:
    async with backend(answer).stream(b"{}", []) as stream:
        return [chunk async for several in stream for chunk in several]


@pytest.mark.parametrize(
    ("error", "expected", "answering"),
    [
        (httpx.ConnectTimeout, BackendTimeout, BackendTimeout),
        (httpx.PoolTimeout, BackendTimeout, BackendTimeout),
        (httpx.ReadTimeout, BackendTimeout, BackendTimeout),
        (httpx.ConnectError, BackendUnreachable, BackendUnreachable),
        (httpx.UnsupportedProtocol, BackendUnreachable, BackendUnreachable),
        (httpx.ReadError, BackendUnreachable, BackendBroken),
        (httpx.RemoteProtocolError, BackendUnreachable, BackendBroken),
    ],
)
def test_transport_errors(
    error: type[httpx.TransportError],
    expected: type[GatewayError],
    answering: type[GatewayError],
) -> None:
    assert type(map_transport_error(error("secret"))) is expected
    mapped = map_transport_error(error("secret"), answering=True)
    assert type(mapped) is answering
    assert b"secret" not in mapped.body()


@pytest.mark.parametrize(("status", "told"), [(407, b"refuses (407)"), (0, b"does not answer")])
def test_the_client_is_told_of_a_proxy_and_not_where_it_is(status: int, told: bytes) -> None:
    error = ProxyFailed("the proxy at http://proxy.corp:3128 refuses")
    error.status = status
    mapped = map_transport_error(error)
    assert isinstance(mapped, BackendUnreachable)
    assert told in mapped.body()
    assert b"proxy.corp" not in mapped.body()


HI = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi."}}]}\n\ndata: [DONE]\n\n'
CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", CODINGS)
async def test_an_answer_that_is_compressed_although_asked_not_to_be(coding: str) -> None:
    packed = CODINGS[coding](HI)
    headers = {**EVENTS, "content-encoding": coding}
    (chunk,) = await chunks(lambda _: httpx.Response(200, headers=headers, stream=Bytes(packed)))
    assert chunk["choices"][0]["delta"] == {"content": "Hi."}


async def test_a_refusal_that_is_compressed() -> None:
    headers = {"content-encoding": "gzip", "x-request-id": "7"}
    stream = Bytes(gzip.compress(b'{"error": {}}'))
    with pytest.raises(BackendRefused) as refused:
        await chunks(lambda _: httpx.Response(400, headers=headers, stream=stream))
    assert refused.value.body() == b'{"error": {}}'
    assert refused.value.headers == [(b"x-request-id", b"7")]


@pytest.mark.parametrize("status", [200, 400])
async def test_one_that_only_says_so(status: int) -> None:
    headers = {**EVENTS, "content-encoding": "gzip"}
    with pytest.raises(BackendBroken, match="decompressed"):
        await chunks(lambda _: httpx.Response(status, headers=headers, stream=Bytes(HI)))


@pytest.mark.parametrize("status", [200, 201, 206])
async def test_any_success_is_an_answer(status: int) -> None:
    (chunk,) = await chunks(lambda _: httpx.Response(status, headers=EVENTS, stream=Bytes(HI)))
    assert chunk["choices"][0]["delta"] == {"content": "Hi."}


@pytest.mark.parametrize("status", [301, 304, 307])
async def test_what_is_neither_an_answer_nor_an_error(status: int) -> None:
    with pytest.raises(BackendBroken, match=str(status)):
        await chunks(lambda _: httpx.Response(status, headers={"location": "/v2"}))


async def test_the_request_of_a_step() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"data: [DONE]\n\n", headers=EVENTS)

    headers = [(b"authorization", b"Bearer client"), (b"accept-encoding", b"gzip")]
    async with backend(answer, "own").stream(b'{"a": 1}', headers) as stream:
        assert [chunk async for chunk in stream] == []
        assert stream.done
    [request] = seen
    assert str(request.url) == "http://backend/v1/chat/completions"
    assert request.content == b'{"a": 1}'
    assert request.headers.get_list("authorization") == ["Bearer own"]
    assert request.headers["accept-encoding"] == "identity"
    assert request.extensions["timeout"] == {"connect": 2, "read": 3, "write": 3, "pool": None}


async def test_a_stream() -> None:
    events = [b'{"id": "a"}', b'{"id": "b"}', b"[DONE]", b'{"id": "c"}']
    body = b": hi\n\n" + b"".join(b"data: " + event + b"\n\n" for event in events)
    told = await chunks(lambda _: httpx.Response(200, content=body, headers=EVENTS))
    assert [chunk["id"] for chunk in told] == ["a", "b"]


async def test_a_whole_answer_to_a_streamed_request() -> None:
    message = {"role": "assistant", "content": "Hi"}
    completion = {"id": "a", "choices": [{"index": 0, "message": message}]}
    [chunk] = await chunks(lambda _: httpx.Response(200, json=completion))
    assert chunk["choices"] == [{"index": 0, "delta": message}]


@pytest.mark.parametrize(
    "response",
    [
        {"content": b"data: <html>\n\n", "headers": EVENTS},
        {"content": b"data: [3]\n\n", "headers": EVENTS},
        {"content": b"data: 3\n\n", "headers": EVENTS},
        {"content": b"<html>", "headers": {"content-type": "application/json"}},
    ],
)
async def test_an_answer_that_is_none(response: dict[str, Any]) -> None:
    with pytest.raises(BackendBroken):
        await chunks(lambda _: httpx.Response(200, **response))


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_refusal_is_handed_on(status: int) -> None:
    headers = {"retry-after": "7", "x-request-id": "r", "connection": "close", "server": "s"}
    body = b'{"error": {"message": "as  it came"}}'
    with pytest.raises(BackendRefused) as refused:
        await chunks(lambda _: httpx.Response(status, content=body, headers=headers))
    assert refused.value.status == status
    assert refused.value.body() == body
    assert list(refused.value.headers) == [(b"retry-after", b"7"), (b"x-request-id", b"r")]


def test_forwarding_readdresses_and_changes_nothing_else() -> None:
    client = backend(None)
    headers = [(b"host", b"gateway"), (b"x-custom", b"c"), (b"accept-encoding", b"gzip")]
    request = client.forward("PUT", "/files/a%20b?limit=2", headers, b"raw")
    assert str(request.url) == "http://backend/v1/files/a%20b?limit=2"
    assert request.method == "PUT"
    assert "host" not in request.headers  # it is for the transport to name
    assert request.headers["accept-encoding"] == "gzip"
