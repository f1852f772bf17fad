"""One request and its response, whose body it streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import httpx

from memgpt_proxy.backend.http1.message import Upload
from memgpt_proxy.backend.http1.upload import Outlet, send_body

# How much of a body, in bytes, may wait for its reader before the connection is not read.
BUFFERED_AT_MOST = 256 * 1024


STALE_SECONDS = 1.0
"""How soon behind a request a kept connection ends whose server did not expect one: one that
ends later may have worked on it, and is not asked twice."""


class Line(Outlet, Protocol):
    """A connection, as its exchange uses it."""

    loop: asyncio.AbstractEventLoop

    def pause(self) -> None:
        """Read no more until ``resume``."""
        ...

    def resume(self) -> None:
        """Read again, if paused."""
        ...

    def abort(self) -> None:
        """Close at once; what was not sent is not sent."""
        ...

    def watch(self, timeout: float | None) -> None:
        """Fail the exchange if it waits for longer than ``timeout`` seconds from now."""
        ...


class Exchange(httpx.AsyncByteStream):
    """A request on a connection, and what comes back.

    The connection tells it what arrived (``begin``, ``feed``, ``finish``, ``lose``, ``fail``);
    the caller awaits ``head`` and then iterates over the body, one item for all that is there.
    Once it is over, in whichever way, it knows the connection no more.
    """

    def __init__(
        self, request: httpx.Request, connection: Line, timeouts: dict[str, float | None]
    ) -> None:
        self.request = request
        self.touched = False
        """Whether any byte of a response arrived."""
        self.stale = False
        """Whether the connection had served before, and ended as this request came."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._connection: Line | None = connection
        self._began = connection.loop.time()
        self._read_timeout = timeouts.get("read")
        self._head_timeout = timeouts.get("first_byte", self._read_timeout)
        self._write_timeout = timeouts.get("write")
        self._parts: list[bytes] = []
        self._buffered = 0
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._upload: asyncio.Task[None] | None = None

    # What the caller does.

    async def head(self, upload: Upload | None) -> None:
        """Send what is not sent; return when the response's head is there, or none will come."""
        connection = self._connection
        if connection is not None and (upload is not None or connection.full):
            self._upload = connection.loop.create_task(
                send_body(connection, upload, self._write_timeout)
            )
            self._upload.add_done_callback(self._uploaded)
        while not self.status and self._connection is not None:
            try:
                await self._news(self._connection)
            except BaseException:
                await self.aclose()
                raise

    def response(self) -> httpx.Response:
        """Return the response, its body streaming; raises what went wrong if there is none."""
        if not self.status and self._error is not None:
            raise self._error
        return httpx.Response(self.status, headers=self.headers, stream=self, request=self.request)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._connection is None:
                raise self._error or StopAsyncIteration
            try:
                await self._news(self._connection)
            except BaseException:
                await self.aclose()
                raise
        return self._take()

    async def aclose(self) -> None:
        """Stop: before its end, the connection is closed at once."""
        if self._parts:
            self._parts.clear()
            self._error = _left()
        self.fail(_left())
        if self._upload is not None and not self._upload.done():
            await asyncio.wait({self._upload})

    # What the connection tells.

    @property
    def ended(self) -> bool:
        """Whether all of the response has been read, or nothing more will come."""
        return self._connection is None and not self._parts

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the response."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def uploading(self) -> bool:
        """Whether the request is not all sent."""
        return self._upload is not None and not self._upload.done()

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Take the response's head."""
        self.status = status
        self.headers = headers
        self._wake()

    def feed(self, data: bytes) -> None:
        """Take the body of one network read."""
        self._parts.append(data)
        self._buffered += len(data)
        if self._buffered > BUFFERED_AT_MOST and self._connection is not None:
            self._connection.pause()
        self._wake()

    def finish(self) -> None:
        """Take the end of the response."""
        self._connection = None
        if self._upload is not None:
            self._upload.cancel()
        self._wake()

    def lose(self, error: httpx.TransportError, *, reused: bool) -> None:
        """Take the end of the connection, before the response's."""
        if self._connection is not None:
            soon = self._connection.loop.time() - self._began < STALE_SECONDS
            self.stale = reused and soon and not self.touched
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Take an error: close the connection, and raise it where the response is awaited."""
        connection = self._connection
        if connection is None:
            return
        if isinstance(error, httpx.RequestError):
            error.request = self.request
        self._error = error
        connection.abort()
        self.finish()

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        if upload.cancelled():
            return
        if (error := upload.exception()) is not None:
            self.fail(error)
        elif self.waiting and self._connection is not None:
            self._connection.watch(self._patience)

    # Between the two.

    @property
    def _patience(self) -> float | None:
        """How many seconds the server may be silent now."""
        return self._read_timeout if self.status else self._head_timeout

    def _news(self, connection: Line) -> asyncio.Future[None]:
        """Return what is done when something arrived."""
        self._waiter = waiter = connection.loop.create_future()
        connection.watch(None if self.uploading else self._patience)
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> bytes:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._buffered = 0
        if self._connection is not None:
            self._connection.resume()
        return data


def _left() -> httpx.ReadError:
    return httpx.ReadError("The response was closed.")
