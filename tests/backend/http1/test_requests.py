"""Requests: the bytes that are sent, uploads, what is refused."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memgpt_proxy.backend.http1.message import encode
from tests.backend.http1.server import (
    OK,
    Parts,
    Peer,
    always_ok,
    ask,
    connected,
    get,
    post,
)

URL = "http://example.test:8080/v1/x?y=%20z"
CHUNKED = [(b"Transfer-Encoding", b"chunked")]


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        (get(URL), b"GET /v1/x?y=%20z HTTP/1.1\r\nHost: example.test:8080\r\n\r\n"),
        (get("http://[::1]"), b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"),
        (get("http://user:pw@a.test:80/"), b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        (
            post("http://a.test/"),
            b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            post("http://a.test/", b"abc", method="GET"),
            b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            post("http://a.test/", b"abc", headers=[(b"HOST", b"b"), (b"X-Y", b"\xe4 \t")]),
            b"POST / HTTP/1.1\r\nHOST: b\r\nX-Y: \xe4 \t\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            post("http://a.test/", b"abc", headers=[(b"content-length", b"3")]),
            b"POST / HTTP/1.1\r\nHost: a.test\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            post("http://a.test/", b"abc", headers=CHUNKED),
            (
                b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n0\r\n\r\n"
            ),
        ),
        (
            httpx.Request("POST", "http://a.test/", content=b"abc", headers={"user-agent": "u"}),
            b"POST / HTTP/1.1\r\nHost: a.test\r\nuser-agent: u\r\nContent-Length: 3\r\n\r\nabc",
        ),
    ],
)
def test_the_bytes_of_a_request(request_: httpx.Request, data: bytes) -> None:
    assert encode(request_) == (data, None)


@pytest.mark.parametrize(
    "request_",
    [
        post(URL, b"abc", headers=[header])
        for header in [
            (b"X", b"a\r\nY: b"),
            (b"X", b"a\nb"),
            (b"X", b"a\rb"),
            (b"X", b"a\0b"),
            (b"X\r\nY", b"a"),
            (b"X: a\r\nY", b"b"),
            (b"X Y", b"a"),
            (b"", b"a"),
            (b"X:", b"a"),
            (b"X: b", b"a"),
            (b"content-length", b"4"),
            (b"content-length", b"+3"),
            (b"content-length", b"3, 3"),
            (b"transfer-encoding", b"gzip, chunked"),
        ]
    ]
    + [
        post(URL, b"abc", headers=[(b"Content-Length", b"3"), (b"content-length", b"3")]),
        post(URL, b"abc", headers=[*CHUNKED, (b"content-length", b"3")]),
        post(URL, Parts(), headers=[*CHUNKED, (b"content-length", b"3")]),
        post(URL, method="G T"),
        post(URL, method="GET / HTTP/1.1\r\nX: "),
        post(URL, method="GÄT"),
    ],
)
async def test_what_no_request_may_hold_is_refused(request_: httpx.Request) -> None:
    async with connected(always_ok) as (server, transport):
        with pytest.raises(httpx.LocalProtocolError) as raised:
            await ask(transport, request_)
        assert raised.value.request is request_
        assert server.connections == 0


@given(name=st.binary(max_size=8), value=st.binary(max_size=12))
def test_a_header_is_sent_as_one_line_or_not_at_all(name: bytes, value: bytes) -> None:
    assume(name.lower() not in (b"host", b"content-length", b"transfer-encoding"))
    try:
        data = encode(post("http://a.test/", method="GET", headers=[(name, value)])).data
    except httpx.LocalProtocolError:
        return
    assert re.fullmatch(rb"[!#-'*+.^-z|~0-9A-Z-]+", name)
    assert not re.search(rb"[\r\n\0]", value)
    assert data.split(b"\r\n")[1:-2] == [b"Host: a.test", name + b": " + value]


@pytest.mark.parametrize(
    ("upload", "headers", "data"),
    [
        (Parts(b"ab", b"", b"c" * 17), None, b"2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n"),
        (Parts(), None, b"0\r\n\r\n"),
        (Parts(b"ab", b"c"), CHUNKED, b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        (Parts(b"ab", b"", b"c"), [(b"Content-Length", b"3")], b"abc"),
    ],
)
async def test_uploads(
    upload: Parts, headers: list[tuple[bytes, bytes]] | None, data: bytes
) -> None:
    received = b""

    async def handler(peer: Peer) -> None:
        nonlocal received
        for _ in range(2):
            head = await peer.head()
            received = await peer.reader.readexactly(len(data))
            assert (b"Transfer-Encoding: chunked" in head) == data.endswith(b"0\r\n\r\n")
            peer.send(OK)
        await peer.gone()

    async with connected(handler) as (server, transport):
        for _ in range(2):
            assert await ask(transport, post(server.url(), upload, headers=headers)) == (200, b"ok")
            assert received == data
        assert server.connections == 1


@pytest.mark.parametrize("parts", [(b"abc",), (b"abc", b"de")])
async def test_an_upload_not_as_long_as_announced_drops_the_connection(
    parts: tuple[bytes, ...],
) -> None:
    left = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.gone()
        left.set()

    async with connected(handler) as (server, transport):
        request = post(server.url(), Parts(*parts), headers=[(b"Content-Length", b"4")])
        with pytest.raises(httpx.LocalProtocolError):
            await ask(transport, request)
        await left.wait()


async def test_an_upload_that_fails_drops_the_connection_and_raises_its_error() -> None:
    left = asyncio.Event()

    async def handler(peer: Peer) -> None:
        if peer.number > 1:
            await always_ok(peer)
        await peer.gone()
        left.set()

    async with connected(handler, limit=1) as (server, transport):
        with pytest.raises(KeyError):
            await ask(transport, post(server.url(), Parts(b"a", KeyError("gone"))))
        await left.wait()
        assert await ask(transport, get(server.url())) == (200, b"ok")


async def test_a_server_that_takes_nothing_holds_an_upload_back() -> None:
    upload = Parts(*[bytes(2**16)] * 1024)

    async def handler(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await released.wait()

    released = asyncio.Event()
    async with connected(handler) as (server, transport):
        with pytest.raises(httpx.WriteTimeout):
            await ask(transport, post(server.url(), upload, write=0.3))
        assert upload.taken < 1024
        released.set()


async def test_a_large_body_in_hand_that_is_not_taken_times_out() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await released.wait()

    released = asyncio.Event()
    async with connected(handler) as (server, transport):
        with pytest.raises(httpx.WriteTimeout):
            await ask(transport, post(server.url(), bytes(64 * 2**20), write=0.3, read=0.01))
        released.set()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_large_body_arrives_whole(streamed: bool) -> None:
    size = 8 * 2**20
    body = Parts(*[b"x" * 2**20] * 8) if streamed else b"x" * size

    async def handler(peer: Peer) -> None:
        for _ in range(2):
            assert (await peer.request()).endswith(b"\r\n\r\n" + b"x" * size)
            peer.send(OK)
        await peer.gone()

    async with connected(handler) as (server, transport):
        headers = [(b"content-length", b"%d" % size)]
        for _ in range(2):
            request = post(server.url(), body, headers=headers, write=5, read=5)
            assert await ask(transport, request) == (200, b"ok")
        assert server.connections == 1


class Endless(httpx.AsyncByteStream):
    """An upload that never ends, and says when it was given up."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.left = asyncio.Event()

    async def __aiter__(self):
        try:
            yield b"a"
            self.started.set()
            await asyncio.Event().wait()
        finally:
            self.left.set()


async def test_an_answer_before_the_end_of_the_upload_wins() -> None:
    async def handler(peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await peer.gone()

    async with connected(handler, limit=1) as (server, transport):
        for number in (1, 2):
            upload = Endless()
            assert await ask(transport, post(server.url(), upload)) == (413, b"no")
            await upload.left.wait()
            assert server.connections == number


async def test_an_upload_goes_on_while_the_answer_comes() -> None:
    answered = asyncio.Event()

    class Late(Parts):
        async def __aiter__(self):
            yield b"a"
            await answered.wait()
            yield b"b"

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(len(b"1\r\na\r\n"))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi")
        assert await peer.reader.readexactly(len(b"1\r\nb\r\n0\r\n\r\n")) == b"1\r\nb\r\n0\r\n\r\n"
        peer.send(b"ne")
        await always_ok(peer)

    async with connected(handler) as (server, transport):
        response = await transport.handle_async_request(post(server.url(), Late()))
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"fi"
        answered.set()
        assert await anext(body) == b"ne"
        await response.aclose()
        assert await ask(transport, get(server.url())) == (200, b"ok")
        assert server.connections == 1


async def test_the_read_timeout_begins_after_the_upload() -> None:
    """An upload slower than the timeout is none of the server's fault."""
    begun = asyncio.Event()

    class Slow(Parts):
        async def __aiter__(self):
            yield b"a"
            begun.set()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.3)
            yield b"b"

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.gone()

    async with connected(handler) as (server, transport):
        upload = Slow()
        with pytest.raises(httpx.ReadTimeout):
            await ask(transport, post(server.url(), upload, read=0.1))
        assert begun.is_set()


async def test_cancelled_while_uploading() -> None:
    async def handler(peer: Peer) -> None:
        if peer.number > 1:
            await always_ok(peer)
        await peer.gone()

    async with connected(handler, limit=1) as (server, transport):
        upload = Endless()
        call = asyncio.get_running_loop().create_task(ask(transport, post(server.url(), upload)))
        await upload.started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert upload.left.is_set()
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")
