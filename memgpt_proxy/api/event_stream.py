"""Server-sent events on their way to a client, one response."""

from __future__ import annotations

from starlette.types import Send

from memgpt_proxy.backend.headers import RawHeaders

_EVENT_STREAM: RawHeaders = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_KEEP_ALIVE = b": keep-alive\n\n"


class EventStream:
    """A response that begins with the first event.

    Attributes:
        headers: To be sent with it, beside those of every event stream.
        started: Something was sent.
    """

    def __init__(self, send: Send, headers: RawHeaders) -> None:
        self.headers = headers
        self.started = False
        self._send = send
        self._silent = True  # since the request came

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send one or more whole events."""
        self._silent = False
        if not self.started:
            self.started = True
            headers = [*_EVENT_STREAM, *self.headers]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def beat(self) -> None:
        """Send a comment if nothing was sent since the last beat, or since the request came."""
        if self._silent:
            await self.write(_KEEP_ALIVE)
        self._silent = True
