"""A reply on its way to the client: as an event stream, or as one JSON object.

Both take the same deltas of a running turn; the whole reply is the stream, gathered.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson
from starlette.types import Send

from memgpt_proxy.agent.reply import Beside, CallPart, Delta, Kind, Raw, Text
from memgpt_proxy.agent.request import TurnResult
from memgpt_proxy.api.event_stream import EventStream
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import GatewayError
from memgpt_proxy.wire.arguments import is_json
from memgpt_proxy.wire.merge import ChoiceMerger
from memgpt_proxy.wire.step import StepReader

DEGRADED = (b"x-memgpt-degraded", b"true")

_NOTHING: Mapping[str, Any] = {}
_DONE = b"data: [DONE]\n\n"


class Reply(Protocol):
    """What the endpoint does with either kind of reply; also a turn's sink.

    Attributes:
        beats: Whether ``beat`` is worth being called.
    """

    beats: bool

    async def begin(self, first: StepReader, headers: RawHeaders) -> None:
        """The backend has accepted the turn."""
        ...

    async def write(self, deltas: Sequence[Delta]) -> None:
        """More of the reply."""
        ...

    async def finish(self, result: TurnResult) -> None:
        """The turn is over, and stored."""
        ...

    async def fail(self, error: GatewayError) -> None:
        """The turn has failed."""
        ...

    async def beat(self) -> None:
        """Time has passed; keep the connection alive if nothing was sent in it."""
        ...


class Heading:
    """What every chunk of one reply repeats: the backend's own id, time and model."""

    def __init__(self, model: str) -> None:
        self._fields: dict[str, Any] = {
            "id": None,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    def take(self, first: StepReader) -> None:
        """Take what the turn's first step says of itself."""
        for name in ("id", "created", "model", "system_fingerprint", "service_tier"):
            if (value := getattr(first, name)) is not None:
                self._fields[name] = value
        self._fields["id"] = self._fields["id"] or f"chatcmpl-{secrets.token_hex(12)}"

    def with_fields(self, **fields: Any) -> dict[str, Any]:
        """Return an object that begins like this."""
        return {**self._fields, **fields}


class StreamedReply:
    """A reply as server-sent events, in OpenAI's chunks.

    Args:
        include_usage: The client wants a usage chunk at the end.
    """

    beats = True

    def __init__(self, send: Send, model: str, *, include_usage: bool, degraded: bool) -> None:
        self._send = send
        self._heading = Heading(model)
        self._include_usage = include_usage
        self._stream = EventStream(send, [DEGRADED] if degraded else [])
        self._role_sent = False
        self._raw: dict[int, bool] = {}  # the choices of a clean step, and whether they have ended
        self._text_head = b""

    async def begin(self, first: StepReader, headers: RawHeaders) -> None:
        """Know what the reply's chunks begin with; nothing is sent before there is a reply."""
        self._heading.take(first)
        self._stream.headers += headers

    async def write(self, deltas: Sequence[Delta]) -> None:
        """Send deltas, all in one write."""
        if deltas:
            await self._stream.write(b"".join([self._event(delta) for delta in deltas]))

    async def finish(self, result: TurnResult) -> None:
        """Send the finish reason, the usage where it is wanted, and ``[DONE]``."""
        events = self._ends(result)
        if self._include_usage:
            fields = self._heading.with_fields(choices=[], usage=result.usage)
            events.append(_event(fields))
        events.append(_DONE)
        await self._stream.write(b"".join(events), last=True)

    def _ends(self, result: TurnResult) -> list[bytes]:
        """Return the ends of all choices that have not ended yet."""
        reason = result.finish_reason
        if not self._raw:
            return [self._role(), self._chunk({}, finish_reason=reason, more=result.more)]
        lasting = [index for index, ended in self._raw.items() if not ended]
        return [self._chunk({}, finish_reason=reason, index=index) for index in lasting]

    async def fail(self, error: GatewayError) -> None:
        """Send an error: as a response of its own, or as the last event of what has begun."""
        if not self._stream.started:
            await send_error(self._send, error)
            return
        await self._stream.write(b"data: " + _as_data(error) + b"\n\n", last=True)

    async def beat(self) -> None:
        """Send a comment if nothing was sent since the last beat."""
        await self._stream.beat()

    def _event(self, delta: Delta) -> bytes:
        match delta:
            case Text(text=text):
                return self._text(text)
            case CallPart():
                return self._role() + self._chunk({"tool_calls": [_call_delta(delta)]})
            case Beside(field=field, value=value):
                return self._role() + self._chunk({field: value})
            case Raw(choices=choices, more=more):
                for choice in choices:
                    ended = self._raw.get(choice["index"], False)
                    self._raw[choice["index"]] = ended or bool(choice["finish_reason"])
                return _event(self._heading.with_fields(choices=choices, **more))

    def _text(self, text: str) -> bytes:
        """Return a text chunk; all but the text is the same for the whole reply."""
        if not self._text_head:
            head, _, tail = self._chunk({"content": "\x00"}).partition(rb'"\u0000"')
            self._text_head, self._text_tail = head, tail
        return self._role() + self._text_head + orjson.dumps(text) + self._text_tail

    def _role(self) -> bytes:
        if self._role_sent:
            return b""
        self._role_sent = True
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def _chunk(
        self,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        index: int = 0,
        more: Mapping[str, Any] = _NOTHING,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event(self._heading.with_fields(choices=[choice], **more))


class WholeReply:
    """A reply as one JSON object, sent when the turn is over."""

    beats = False

    def __init__(self, send: Send, model: str) -> None:
        self._send = send
        self._heading = Heading(model)
        self._headers: RawHeaders = []
        self._merger: ChoiceMerger | None = None
        self._more: dict[str, Any] = {}

    async def begin(self, first: StepReader, headers: RawHeaders) -> None:
        """Know what the reply begins with."""
        self._heading.take(first)
        self._headers += headers

    async def write(self, deltas: Sequence[Delta]) -> None:
        """Gather the chunks of a clean step; all else is in the turn's result."""
        for delta in deltas:
            if isinstance(delta, Raw):
                self._merger = self._merger or ChoiceMerger()
                self._merger.add({"choices": delta.choices})
                self._more |= delta.more

    async def finish(self, result: TurnResult) -> None:
        """Send the completion."""
        choices = self._merger.choices(result.finish_reason) if self._merger else [_choice(result)]
        completion = self._heading.with_fields(
            object="chat.completion",
            choices=choices,
            usage=result.usage,
            **(self._more or result.more),
        )
        headers = [*self._headers, DEGRADED] if result.degraded else self._headers
        await send_json(self._send, 200, orjson.dumps(completion), headers)

    async def fail(self, error: GatewayError) -> None:
        """Send an error."""
        await send_error(self._send, error)

    async def beat(self) -> None:
        """A response that has not begun cannot be kept alive."""


async def send_error(send: Send, error: GatewayError) -> None:
    """Send an error as a response of its own."""
    body, headers = error.body(), list(error.headers)
    if any(name == b"content-type" for name, _ in headers):
        await _send_response(send, error.status, body, headers)
    else:
        await send_json(send, error.status, body, headers)


async def send_json(send: Send, status: int, body: bytes, headers: RawHeaders) -> None:
    """Send a JSON body as a response."""
    await _send_response(send, status, body, [(b"content-type", b"application/json"), *headers])


async def _send_response(send: Send, status: int, body: bytes, headers: RawHeaders) -> None:
    sized = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})


def _event(fields: object) -> bytes:
    return b"data: " + orjson.dumps(fields) + b"\n\n"


def _as_data(error: GatewayError) -> bytes:
    """Return an error's body as the data of one event: clients read JSON there, and no page."""
    body = error.body()
    told = body if body.lstrip().startswith(b"{") and is_json(body) else GatewayError.body(error)
    return told.replace(b"\r", b" ").replace(b"\n", b" ")


def _call_delta(part: CallPart) -> dict[str, Any]:
    text = "input" if part.kind is Kind.CUSTOM else "arguments"
    if part.id is None:
        return {"index": part.index, part.kind.value: {text: part.arguments}}
    called = {"name": part.name, text: part.arguments}
    head = {"index": part.index, "id": part.id, "type": part.kind.value}
    return {**head, part.kind.value: called}


def _choice(result: TurnResult) -> dict[str, Any]:
    reply = result.reply
    message = {**reply.message(), "refusal": reply.refusal or None}
    if reply.annotations:
        message["annotations"] = reply.annotations
    return {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": result.finish_reason,
    }
