"""A proxy as companies let nothing out but through: ``CONNECT``, and requests in absolute form.

It runs in a thread with an event loop of its own. The names that it resolves are the test's.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.process import until

DEADLINE = 10.0


class EgressProxy:
    """The proxy; a context manager that starts and stops it.

    Args:
        hosts: Ports on loopback, by the names of hosts that are there.
        who: ``user:password`` that it asks for, if any.
        tls: Makes it an https proxy.

    Attributes:
        heads: First line and headers of all that it was asked, in order.
        connections: How many were made to it.
        open: How many of them there are now.
        status: With which it refuses everything; 0 lets through.
        says: Bytes that it answers instead, whatever it is asked.
        hangs: Whether it never answers.
        cuts_after: Bytes of an answer, after which it drops the connection.
    """

    def __init__(
        self, hosts: Mapping[str, int], *, who: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.hosts = hosts
        self.heads: list[str] = []
        self.connections = 0
        self.open = 0
        self.status = 0
        self.says = b""
        self.hangs = False
        self.cuts_after: int | None = None
        self.port = 0
        self._allowed = f"Basic {b64encode(who.encode()).decode()}" if who else None
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        """The first line of all that it was asked, without the version."""
        return [head.partition(" HTTP/1.1\r\n")[0] for head in self.heads]

    async def wait_until_left(self) -> None:
        """Wait until no connection is open."""
        await asyncio.to_thread(until, lambda: self.open == 0)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(DEADLINE), "the proxy did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the proxy did not stop"
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            # A KeyError is a host that is not there: it closes.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, KeyError):
                await self._asked(reader, writer)
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        if self.hangs:
            await reader.read()
            return
        if answer := self.says or self._refusal(head):
            writer.write(answer)
            await reader.read()
            return
        method, target, _ = head.split(" ", 2)
        if method == "CONNECT":
            upstream, sink = await self._reached(target)
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
        else:
            url = urlsplit(target)
            upstream, sink = await self._reached(url.netloc)
            path = target.removeprefix(f"{url.scheme}://{url.netloc}")
            # One request to a connection: the next has to be read here, not there.
            rest = head.split("\r\n", 1)[1]
            sink.write(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n{rest}".encode("latin-1"))
        await self._joined(reader, writer, upstream, sink)

    def _refusal(self, head: str) -> bytes:
        status = self.status
        if self._allowed is not None and f"Proxy-Authorization: {self._allowed}\r\n" not in head:
            status = 407
        return b"HTTP/1.1 %d Refused\r\nContent-Length: 2\r\n\r\nno" % status if status else b""

    async def _reached(self, place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = place.partition(":")[0]
        return await asyncio.open_connection("127.0.0.1", self.hosts[name])

    async def _joined(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
    ) -> None:
        """Carry bytes both ways until either end is there."""
        ways = [
            self._loop.create_task(_carry(reader, sink, None)),
            self._loop.create_task(_carry(upstream, writer, self.cuts_after)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            with suppress(OSError):
                await asyncio.wait_for(writer.drain(), DEADLINE)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            sink.transport.abort()
            if self.cuts_after is None:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()


async def _carry(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, at_most: int | None
) -> None:
    """Carry bytes until their end, or until so many."""
    carried = 0
    while data := await source.read(2**16):
        carried += len(data)
        sink.write(data)
        await sink.drain()
        if at_most is not None and carried >= at_most:
            return
