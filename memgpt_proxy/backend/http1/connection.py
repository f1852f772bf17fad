"""One connection: bytes of a response in, told to the exchange that is on it."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol, cast

import httptools
import httpx

from memgpt_proxy.backend.http1.exchange import Exchange
from memgpt_proxy.backend.http1.origin import Origin

# The most bytes that may arrive without a head, a piece of body or the end coming of them:
# the size of a head, and of trailers.
HEAD_AT_MOST = 64 * 1024


class Owner(Protocol):
    """Who keeps connections."""

    def released(self, connection: Connection) -> None:
        """Take back a connection that can serve again."""

    def lost(self, connection: Connection) -> None:
        """Forget a connection; it is closed."""


class Connection(asyncio.Protocol):
    """A connection to an origin, with one exchange at a time on it."""

    def __init__(self, origin: Origin, owner: Owner) -> None:
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self.reused = False
        """Whether it has served a request before."""
        self.closed = False
        self.idle_since = 0.0
        """When it was given back last, by the loop's clock."""
        self.full = False
        """Whether so much waits to be sent that no more should be written."""
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._drained: asyncio.Future[None] | None = None
        self._exchange: Exchange | None = None
        self._body: list[bytes] = []
        # Each piece of a body goes from the parser to the list without a line of Python.
        self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._fruitless = 0
        self._complete = False
        self._keep_alive = False
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    # What the exchange and the owner do.

    def start(self, exchange: Exchange, data: bytes) -> None:
        """Put an exchange on the connection and write its first bytes."""
        self._exchange = exchange
        self._headers = []
        self._fruitless = 0
        self._complete = False
        if self.closed:
            self._end(None)
        self.write(data)

    def write(self, data: bytes) -> None:
        """Write, unless the connection is closed: then the exchange has been told."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)

    async def drained(self) -> None:
        """Return when more can be written, or never will be."""
        while self.full and not self.closed:
            self._drained = self.loop.create_future()
            await self._drained

    def pause(self) -> None:
        """Read no more until ``resume``."""
        if self._transport is not None and not self._paused and not self.closed:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again, if paused."""
        if self._transport is not None and self._paused and not self.closed:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; what was not sent is not sent."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def shut(self) -> None:
        """Close at once, and tell the exchange."""
        if self._exchange is not None:
            self._exchange.fail(httpx.ReadError("The transport was closed."))
        self.abort()

    def watch(self, timeout: float | None) -> None:
        """Fail the exchange if it waits for longer than ``timeout`` seconds from now.

        The timer stays armed from wait to wait, and finds out whether it is late or early.
        """
        if timeout is None:
            self._deadline = math.inf
            return
        self._deadline = self.loop.time() + timeout
        if self._deadline < self._timer_at:
            self._arm()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()
            return
        exchange.touched = True
        self._fruitless += len(data)
        broken = self._parse(data)
        if self._body and not self._bodiless(exchange):
            exchange.feed(self._piece())
        if self._complete:
            self._finish(exchange, clean=broken is None and not self._body)
        elif broken is not None:
            exchange.fail(httpx.RemoteProtocolError(broken))
        elif self._fruitless > HEAD_AT_MOST:
            exchange.fail(httpx.RemoteProtocolError("The response's head is too large."))

    def eof_received(self) -> None:
        self._end(None)
        self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._end(error)
        self._open_gate()
        self._owner.lost(self)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._open_gate()

    # What the parser tells. ``on_body`` is set when the connection is made.

    def on_message_begin(self) -> None:
        if self._complete:
            raise _Surplus("There is something after the response.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        headers, self._headers = self._headers, []
        if self._fruitless > HEAD_AT_MOST and _size(headers) > HEAD_AT_MOST:
            raise _HeadTooLarge("The response's head is too large.")
        status = self._parser.get_status_code()
        exchange = self._exchange
        if status < 200 or exchange is None:
            return
        exchange.begin(status, headers)
        if self._bodiless(exchange):
            self.on_message_complete()

    def on_message_complete(self) -> None:
        if self._exchange is not None and self._exchange.status:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    # Between them.

    def _parse(self, data: bytes) -> str | None:
        """Feed the parser; return what is wrong with the bytes."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return "The server switched protocols unasked."
        except httptools.HttpParserError as error:
            return str(error.__context__ or error)
        return None

    def _piece(self) -> bytes:
        self._fruitless = 0
        body = self._body
        piece = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return piece

    def _bodiless(self, exchange: Exchange) -> bool:
        return exchange.request.method == "HEAD"

    def _finish(self, exchange: Exchange, *, clean: bool) -> None:
        reusable = clean and self._keep_alive and not exchange.uploading and not self.closed
        self._exchange = None
        exchange.finish()
        if not reusable:
            self.abort()
            return
        if self._bodiless(exchange):
            # The parser cannot be told that no body follows, and would wait for it.
            self._parser = httptools.HttpResponseParser(self)
        self.resume()
        self.reused = True
        self._owner.released(self)

    def _end(self, error: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if error is not None:
            exchange.lose(httpx.ReadError(str(error)), reused=self.reused)
        elif not exchange.status:
            text = "The server closed the connection without an answer."
            exchange.lose(httpx.RemoteProtocolError(text), reused=self.reused)
        elif _ends_with_connection(exchange.headers):
            exchange.finish()
        else:
            text = "The server closed the connection within its answer."
            exchange.lose(httpx.RemoteProtocolError(text), reused=self.reused)

    def _open_gate(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self.loop.call_at(self._deadline, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        exchange = self._exchange
        if exchange is None or not exchange.waiting or self._deadline == math.inf:
            return
        if self.loop.time() < self._deadline:
            self._arm()
        else:
            exchange.fail(httpx.ReadTimeout("The server was silent for too long."))


class _Surplus(Exception):
    """Bytes follow a response that nobody asked for."""


class _HeadTooLarge(Exception):
    """A head is larger than any should be."""


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + len(": \r\n") for name, value in headers)


def _ends_with_connection(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a body has no other end than the connection's (RFC 9112, section 6.3)."""
    framing = {name.lower(): value.lower() for name, value in headers}
    if b"transfer-encoding" in framing:
        return not framing[b"transfer-encoding"].rstrip().endswith(b"chunked")
    return b"content-length" not in framing
