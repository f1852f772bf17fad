"""Responses: where they end, what is kept of the connection, what is no response."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memgpt_proxy.backend.http1 import Http1Transport
from tests.backend.http1.server import (
    DEADLINE,
    OK,
    Parts,
    Peer,
    always_ok,
    answering,
    ask,
    connected,
    get,
    items,
    post,
    serve,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", 200, b"abc"),
        (b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", 200, b""),
        (CHUNKED + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n", 200, b"abcdefg"),
        (CHUNKED + b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", 200, b"a"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b""),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 1\r\n\r\n!", 503, b"!"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + OK, 200, b"ok"),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
            200,
            b"a",
        ),
    ],
)
async def test_the_connection_serves_again_after(reply: bytes, status: int, body: bytes) -> None:
    async with connected(answering(reply, OK)) as (server, transport):
        assert await ask(transport, get(server.url())) == (status, body)
        assert await ask(transport, get(server.url())) == (200, b"ok")
        assert server.connections == 1


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", b"ab"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", b"ab"),
        (OK + b"surplus", b"ok"),
        (OK + OK, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\nab", b""),
        (CHUNKED + b"0\r\n\r\nx", b""),
    ],
)
async def test_the_connection_is_dropped_after(reply: bytes, body: bytes) -> None:
    async with connected(answering(reply, OK)) as (server, transport):
        assert (await ask(transport, get(server.url())))[1] == body
        assert await ask(transport, get(server.url())) == (200, b"ok")
        assert server.connections == 2


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
async def test_a_body_may_end_with_the_connection(head: bytes) -> None:
    handler = answering(head + b"to the end", then_close=True)
    async with connected(handler) as (server, transport):
        assert await ask(transport, get(server.url())) == (200, b"to the end")


@pytest.mark.parametrize(
    ("reply", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        (CHUNKED, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 2),
    ],
)
async def test_no_body_follows_head(reply: bytes, connections: int) -> None:
    async with connected(answering(reply, OK)) as (server, transport):
        assert await ask(transport, post(server.url(), method="HEAD")) == (200, b"")
        assert await ask(transport, get(server.url())) == (200, b"ok")
        assert server.connections == connections


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 4000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000,
    ],
)
async def test_what_is_no_response_is_refused(reply: bytes) -> None:
    async with connected(answering(reply, OK)) as (server, transport):
        request = get(server.url())
        with pytest.raises(httpx.RemoteProtocolError) as raised:
            await ask(transport, request)
        assert raised.value.request is request
        assert await ask(transport, get(server.url())) == (200, b"ok")


async def test_a_head_just_below_the_limit_is_taken() -> None:
    value = b"x" * 65_000
    reply = b"HTTP/1.1 200 OK\r\nX: " + value + b"\r\nContent-Length: 0\r\n\r\n"
    async with connected(answering(reply)) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        assert response.headers.raw[0] == (b"X", value)
        await response.aclose()


async def test_trailers_without_end_are_refused() -> None:
    reply = CHUNKED + b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 100_000
    async with connected(answering(reply)) as (server, transport):
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, get(server.url()))


async def test_headers_come_as_they_were_sent() -> None:
    reply = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=\xe4\r\nX-EMPTY:\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    async with connected(answering(reply)) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        assert response.headers.raw == [
            (b"Set-Cookie", b"a=1"),
            (b"set-cookie", b"b=\xe4"),
            (b"X-EMPTY", b""),
            (b"Transfer-Encoding", b"chunked"),
        ]
        await response.aclose()


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", CHUNKED + b"2\r\nab\r\n"],
)
async def test_a_body_that_breaks_off_is_delivered_up_to_there(reply: bytes) -> None:
    async with connected(answering(reply, then_close=True)) as (server, transport):
        request = get(server.url())
        response = await transport.handle_async_request(request)
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"ab"
        with pytest.raises(httpx.RemoteProtocolError) as raised:
            await anext(body)
        assert raised.value.request is request
        await response.aclose()


async def test_a_chunk_that_is_none_breaks_the_body_off() -> None:
    async with connected(answering(CHUNKED + b"2\r\nab\r\nzz\r\n")) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"ab"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(body)


async def test_all_pieces_of_one_read_are_one_item() -> None:
    reply = CHUNKED + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"
    async with connected(answering(reply)) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        assert await items(response) == [b"abc"]


async def test_items_come_as_they_are_sent() -> None:
    gate = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(CHUNKED + b"1\r\na\r\n")
        await gate.wait()
        peer.send(b"1\r\nb\r\n0\r\n\r\n")
        await peer.gone()

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"a"
        gate.set()
        assert await anext(body) == b"b"
        with pytest.raises(StopAsyncIteration):
            await anext(body)


async def test_the_end_in_the_read_of_the_last_piece_gives_the_connection_back() -> None:
    reply = CHUNKED + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    async with connected(answering(reply, OK)) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        assert await anext(aiter(response.stream)) == b"data: [DONE]\n\n"  # type: ignore[arg-type]
        await response.aclose()
        assert await ask(transport, get(server.url())) == (200, b"ok")
        assert server.connections == 1


async def test_leaving_before_the_end_closes_at_once() -> None:
    left = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(CHUNKED + b"1\r\na\r\n")
        await peer.gone()
        left.set()

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        await response.aclose()
        await left.wait()
        with pytest.raises(httpx.ReadError):
            await anext(aiter(response.stream))  # type: ignore[arg-type]


async def test_a_body_nobody_reads_is_not_taken_from_the_network() -> None:
    size = 32 * 2**20
    all_sent = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.writer.transport.set_write_buffer_limits(high=0)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 2**16):
            peer.send(bytes(2**16))
            await peer.writer.drain()
        all_sent.set()
        await always_ok(peer)

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(all_sent.wait(), 0.3)
        read = await items(response)
        assert len(read[0]) <= 2 * 256 * 1024
        assert sum(map(len, read)) == size
        assert await ask(transport, get(server.url())) == (200, b"ok")
        assert server.connections == 1


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_head_that_does_not_come_times_out(sent: bytes) -> None:
    async def handler(peer: Peer) -> None:
        if peer.number > 1:
            await always_ok(peer)
        await peer.request()
        peer.send(sent)
        await peer.gone()

    async with connected(handler, limit=1) as (server, transport):
        request = get(server.url(), read=0.05)
        with pytest.raises(httpx.ReadTimeout) as raised:
            await ask(transport, request)
        assert raised.value.request is request
        assert await ask(transport, get(server.url())) == (200, b"ok")


async def test_a_kept_connection_that_is_silent_times_out_and_is_not_tried_again() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        await peer.request()
        await peer.gone()

    async with connected(handler) as (server, transport):
        assert await ask(transport, get(server.url(), read=30)) == (200, b"ok")
        with pytest.raises(httpx.ReadTimeout):
            await ask(transport, get(server.url(), read=0.05))
        assert server.connections == 1


async def test_a_body_that_stops_times_out() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(CHUNKED + b"1\r\na\r\n")
        await peer.gone()

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(get(server.url(), read=0.05))
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"a"
        with pytest.raises(httpx.ReadTimeout):
            await anext(body)


async def test_each_wait_has_the_whole_timeout() -> None:
    """Together longer than the timeout, each shorter: the reader sets the pace."""
    more = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(CHUNKED)
        for _ in range(6):
            await asyncio.wait_for(more.wait(), DEADLINE)
            more.clear()
            asyncio.get_running_loop().call_later(0.1, peer.send, b"1\r\na\r\n")
        await peer.gone()

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(get(server.url(), read=0.5))
        body = aiter(response.stream)  # type: ignore[arg-type]
        for _ in range(6):
            more.set()
            assert await anext(body) == b"a"
        await response.aclose()


WHOLE = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nfour\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
)


@settings(max_examples=40)
@given(cuts=st.sets(st.integers(1, len(WHOLE) - 1), max_size=12))
async def test_a_response_may_come_cut_anywhere(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]

    async def handler(peer: Peer) -> None:
        await peer.request()
        for start, end in pairwise(edges):
            peer.send(WHOLE[start:end])
            await peer.writer.drain()
            await asyncio.sleep(0)
        await always_ok(peer)

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        assert response.headers.raw == [(b"X-One", b"1"), (b"Transfer-Encoding", b"chunked")]
        assert b"".join(await items(response)) == b"four0123456789"
        assert await ask(transport, get(server.url())) == (200, b"ok")
        assert server.connections == 1


async def test_httpx_client_on_top() -> None:
    async with serve(always_ok) as server:
        async with httpx.AsyncClient(transport=Http1Transport(2)) as client:
            answer = await client.post(server.url(), json={"a": 1})
            assert answer.text == "ok"
            assert (await client.get(server.url())).text == "ok"
        assert server.connections == 1


async def test_an_error_of_the_upload_after_the_answer_began_is_raised_while_reading() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        peer.send(CHUNKED)
        await peer.gone()

    begun = asyncio.Event()

    class Broken(Parts):
        async def __aiter__(self):
            yield b"a"
            await begun.wait()
            raise KeyError("the client left")

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(post(server.url(), Broken()))
        begun.set()
        with pytest.raises(KeyError):
            await items(response)


async def test_a_head_has_a_time_of_its_own() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.gone()
        peer.send(CHUNKED + b"1\r\na\r\n")
        await peer.gone()

    async with connected(handler) as (server, transport):
        soon, late = get(server.url(), read=30), get(server.url(), read=0.05)
        soon.extensions["timeout"]["first_byte"] = 0.05
        late.extensions["timeout"]["first_byte"] = 30
        with pytest.raises(httpx.ReadTimeout):
            await transport.handle_async_request(soon)
        response = await transport.handle_async_request(late)
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"a"
        with pytest.raises(httpx.ReadTimeout):
            await anext(body)
