"""A server that speaks exactly the bytes a test gives it, and a way to ask it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx

from memgpt_proxy.backend.http1 import Http1Transport

DEADLINE = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's side of one connection; ``number`` counts from 1."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Read one request whose body, if any, has a content-length; return all of it."""
        head = await self.head()
        names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        return head + await self.reader.readexactly(int(names.get(b"content-length", b"0")))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def gone(self) -> None:
        """Wait until the client has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(2**16):
                pass


class Server:
    def __init__(self, handler: Handler) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self._handler = handler
        self._failed: list[BaseException] = []
        self._running: set[asyncio.Task[None] | None] = set()

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._running.add(asyncio.current_task())
        try:
            await self._handler(Peer(self.connections, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - raised again in the test
            self._failed.append(error)
        finally:
            self._running.discard(asyncio.current_task())
            writer.transport.abort()

    async def stop(self) -> None:
        running = [task for task in self._running if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        if self._failed:
            raise self._failed[0]


@asynccontextmanager
async def serve(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run ``handler`` for every connection; its errors are the test's."""
    server = Server(handler)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(DEADLINE):
            yield server
    finally:
        listening.close()
        await server.stop()


@asynccontextmanager
async def connected(
    handler: Handler, limit: int = 4
) -> AsyncIterator[tuple[Server, Http1Transport]]:
    async with serve(handler) as server, Http1Transport(limit) as transport:
        yield server, transport


def answering(*replies: bytes, then_close: bool = False) -> Handler:
    """Answer one request after the other, on whatever connection, with these bytes."""
    left = iter(replies)

    async def handler(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.send(next(left))
            if then_close:
                peer.writer.close()
                await peer.gone()
                return

    return handler


async def always_ok(peer: Peer) -> None:
    while True:
        await peer.request()
        peer.send(OK)


class Parts(httpx.AsyncByteStream):
    """A body in parts, as an upload gives it; an exception among them is raised."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts = parts
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            self.taken += 1
            yield part


def post(
    url: str,
    body: bytes | httpx.AsyncByteStream = b"",
    *,
    method: str = "POST",
    headers: list[tuple[bytes, bytes]] | None = None,
    **timeouts: float,
) -> httpx.Request:
    stream = httpx.ByteStream(body) if isinstance(body, bytes) else body
    return httpx.Request(
        method, url, headers=headers, stream=stream, extensions={"timeout": timeouts}
    )


def get(url: str, **timeouts: float) -> httpx.Request:
    return httpx.Request("GET", url, stream=httpx.ByteStream(b""), extensions={"timeout": timeouts})


async def items(response: httpx.Response) -> list[bytes]:
    try:
        return [data async for data in response.stream]  # type: ignore[union-attr]
    finally:
        await response.aclose()


async def ask(transport: Http1Transport, request: httpx.Request) -> tuple[int, bytes]:
    """Return status and body."""
    response = await transport.handle_async_request(request)
    return response.status_code, b"".join(await items(response))
