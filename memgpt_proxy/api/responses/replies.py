"""A response on its way to the client: as an event stream, or as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from starlette.types import Send

from memgpt_proxy.agent.reply import Delta
from memgpt_proxy.agent.request import TurnResult
from memgpt_proxy.api.event_stream import EventStream
from memgpt_proxy.api.replies import DEGRADED, send_error, send_json
from memgpt_proxy.api.responses.output import Event
from memgpt_proxy.api.responses.response import Telling
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import GatewayError
from memgpt_proxy.wire.step import StepReader


class StreamedResponse:
    """A response as server-sent events; nothing is sent before there is something to tell."""

    beats = True

    def __init__(self, send: Send, telling: Telling, *, degraded: bool) -> None:
        self._send = send
        self._telling = telling
        self._stream = EventStream(send, [DEGRADED] if degraded else [])
        self._opened = False

    async def begin(self, first: StepReader, headers: RawHeaders) -> None:
        """Know what the backend says of its answer."""
        self._telling.begin(first)
        self._stream.headers += headers

    async def write(self, deltas: Sequence[Delta]) -> None:
        """Send deltas, all in one write."""
        if deltas:
            await self._tell(self._opening() + self._telling.add(deltas))

    async def finish(self, result: TurnResult) -> None:
        """Send the ends of all items, and the response."""
        await self._tell(self._opening() + self._telling.finish(result), last=True)

    async def fail(self, error: GatewayError) -> None:
        """Send an error: as a response of its own, or as the last event of what has begun."""
        if not self._stream.started:
            await send_error(self._send, error)
            return
        await self._tell(self._opening() + self._telling.fail(error), last=True)

    async def beat(self) -> None:
        """Send a comment if nothing was sent since the last beat."""
        await self._stream.beat()

    def _opening(self) -> list[Event]:
        if self._opened:
            return []
        self._opened = True
        return self._telling.opening()

    async def _tell(self, events: Sequence[Event], *, last: bool = False) -> None:
        if events:
            await self._stream.write(b"".join(map(_written, events)), last=last)


class WholeResponse:
    """A response as one JSON object, sent when the turn is over."""

    beats = False

    def __init__(self, send: Send, telling: Telling) -> None:
        self._send = send
        self._telling = telling
        self._headers: RawHeaders = []

    async def begin(self, first: StepReader, headers: RawHeaders) -> None:
        """Know what the backend says of its answer."""
        self._telling.begin(first)
        self._headers += headers

    async def write(self, deltas: Sequence[Delta]) -> None:
        """Gather deltas."""
        self._telling.add(deltas)

    async def finish(self, result: TurnResult) -> None:
        """Send the response."""
        response = self._telling.finish(result)[-1]["response"]
        headers = [*self._headers, DEGRADED] if result.degraded else self._headers
        await send_json(self._send, 200, orjson.dumps(response), headers)

    async def fail(self, error: GatewayError) -> None:
        """Send an error."""
        await send_error(self._send, error)

    async def beat(self) -> None:
        """A response that has not begun cannot be kept alive."""


def _written(event: Event) -> bytes:
    kind: str = event["type"]
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
