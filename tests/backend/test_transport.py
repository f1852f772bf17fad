"""Our connections behind httpx's interface, against real sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from memgpt_proxy.backend.http1 import Http1Transport
from tests.support.backend import ScriptedBackend
from tests.support.process import free_port

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    opened = Http1Transport(max_connections=8)
    yield opened
    await opened.aclose()


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """A server that talks so on each connection; gives its origin."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"


async def request_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n{}")


async def ask(
    transport: Http1Transport, url: str, method: str = "POST", read: float = 5.0
) -> bytes:
    extensions = {"timeout": {"connect": 5.0, "read": read, "pool": None}}
    request = httpx.Request(method, url, content=b"{}", extensions=extensions)
    response = await transport.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


async def test_a_connection_is_used_again(transport: Http1Transport) -> None:
    connections: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        while True:
            await request_of(reader)
            connections[-1] += 1
            writer.write(OK)

    async with server(talk) as origin:
        for _ in range(5):
            assert await ask(transport, origin) == b"ok"
        await transport.aclose()
    assert connections == [5]


async def test_a_kept_connection_that_was_closed_is_no_error(transport: Http1Transport) -> None:
    served: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(0)
        await request_of(reader)
        writer.write(OK)
        if len(served) == 1:
            await request_of(reader)  # the second request is read, and not answered
        served[-1] = 1

    async with server(talk) as origin:
        assert await ask(transport, origin) == b"ok"
        assert await ask(transport, origin) == b"ok"
    assert len(served) == 2


async def test_a_fresh_connection_that_is_closed_is_an_error_at_once(
    transport: Http1Transport,
) -> None:
    tried: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tried.append(await request_of(reader))

    async with server(talk) as origin:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, origin)
    assert len(tried) == 1


async def test_nobody_there(transport: Http1Transport) -> None:
    with pytest.raises(httpx.ConnectError):
        await ask(transport, f"http://127.0.0.1:{free_port()}/")


async def test_a_silent_server(transport: Http1Transport) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(talk) as origin:
        with pytest.raises(httpx.ReadTimeout):
            await ask(transport, origin, read=0.05)


async def test_a_body_that_breaks_off(transport: Http1Transport) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf")

    async with server(talk) as origin:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, origin)


async def test_no_http_at_all(transport: Http1Transport) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"SSH-2.0-server\r\n\r\n")

    async with server(talk) as origin:
        with pytest.raises(httpx.TransportError):
            await ask(transport, origin)


async def test_a_body_is_sent_as_it_comes(
    transport: Http1Transport, backend: ScriptedBackend
) -> None:
    class Parts(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for part in (b"one ", b"two ", b"three"):
                yield part

    request = httpx.Request("POST", f"{backend.base_url}/files", stream=Parts())
    response = await transport.handle_async_request(request)
    assert await response.aread() == b"one two three"
    await response.aclose()
    assert backend.passed[-1].headers["transfer-encoding"] == "chunked"


async def test_nothing_is_decompressed_and_no_header_is_made_up(
    transport: Http1Transport, backend: ScriptedBackend
) -> None:
    request = httpx.Request("POST", f"{backend.base_url}/gzip", stream=httpx.ByteStream(b"text"))
    response = await transport.handle_async_request(request)
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    assert b"".join([part async for part in stream]) == gzip.compress(b"text", mtime=0)
    await response.aclose()
    arrived = backend.passed[-1].headers
    assert set(arrived) <= {"host", "content-length"}


async def test_it_opens_again_after_it_was_closed(
    transport: Http1Transport, backend: ScriptedBackend
) -> None:
    for _ in range(2):
        assert await ask(transport, f"{backend.base_url}/models", "GET")
        await transport.aclose()
