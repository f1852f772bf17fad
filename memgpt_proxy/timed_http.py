"""uvicorn's HTTP protocol, with time limits on what a client sends outside of any turn.

Clients of HTTP/1.0 are not answered in chunks, which they do not know (RFC 9112, section 6.1).

A request's body is timed where it is read (``api.body``). Here is what nobody reads: a head that
does not become whole, and the rest of a body whose request was refused before its end.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from memgpt_proxy.errors import InvalidRequest

HEAD_SECONDS = 30.0
"""How long a request's head may take, from its first byte or the connection's beginning."""

REST_SECONDS = 30.0
"""How long what is left of a body may take, once its answer is sent; it is thrown away."""


def _refusal(status: str, message: str, code: str | None) -> bytes:
    """Return a whole answer to what never became a request."""
    body = InvalidRequest(message, code=code).body()
    fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + body


_TIMED_OUT = _refusal(
    "408 Request Timeout", "The request's head did not come in time.", "request_timeout"
)
_NO_REQUEST = _refusal("400 Bad Request", "This is not a request of HTTP.", None)


class TimedHttp(HttpToolsProtocol):
    """One connection. What comes does not prolong a limit: both are ample for any honest client."""

    head_seconds = HEAD_SECONDS
    rest_seconds = REST_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit: asyncio.TimerHandle | None = None
        self._in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lift()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # No timer for a head that comes whole, as nearly all do. Without one it also waits again
        # for the next head: what has come has ended that wait, if it was but a line's end.
        if self._limit is None and self.timeout_keep_alive_task is None and self._awaits_head():
            self._allow(self.head_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._lift()
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            newest: Any = self.pipeline[0][0] if self.pipeline else self.cycle
            newest.__class__ = Unchunked  # made by uvicorn itself, and not begun yet

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self._lift()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._allow(self.rest_seconds)

    def send_400_response(self, msg: str) -> None:
        self.transport.write(_NO_REQUEST)
        self.transport.close()

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has been asked on it yet; its client may be about to."""
        cycle: Any = self.cycle  # None before the first request, which its type does not say
        return cycle is None

    def _awaits_head(self) -> bool:
        return self._in_head or not self._is_answering()

    def _is_answering(self) -> bool:
        return not self.is_fresh and not self.cycle.response_complete

    def _allow(self, seconds: float) -> None:
        self._lift()
        if not self.transport.is_closing():
            self._limit = self.loop.call_later(seconds, self._too_late)

    def _lift(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _too_late(self) -> None:
        self._limit = None
        if self._is_answering():  # an earlier request, whose answer is not to be cut
            self._allow(self.head_seconds)
            return
        if self._in_head and not self.transport.is_closing():
            self.transport.write(_TIMED_OUT)
        self.transport.close()


class Unchunked(RequestResponseCycle):
    """An answer whose body ends with its connection, where its length is not told."""

    _open = False

    async def send(self, message: Message) -> None:  # type: ignore[override]
        if message["type"] == "http.response.start":
            if not any(name.lower() == b"content-length" for name, _ in message["headers"]):
                self._open, self.chunked_encoding = True, False
        elif self._open:  # each part is all that is expected
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)  # type: ignore[arg-type]
