"""What the scripted backend can answer: replies described in one expression.

``thoughts("She told me.") + call("send_message", {"message": "Hi"})`` is one step;
``.but(crlf=True, write_every=3)`` changes how it goes over the wire.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal


class Gate:
    """A place where a reply waits until the test, in another thread, opens it."""

    def __init__(self) -> None:
        self.opened: Future[None] = Future()

    def open(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)


@dataclass(frozen=True, slots=True)
class Text:
    """Assistant text: ``content``, or the reasoning some backends send beside it."""

    text: str
    field: Literal["content", "reasoning_content"] = "content"
    index: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; ``arguments`` is the exact text the model wrote, valid JSON or not."""

    name: str
    arguments: str
    id: str | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class Raw:
    """One event whose data is given: a chunk as an object, or any text."""

    data: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing more is sent until the gate opens."""

    gate: Gate


Part = Text | Call | Raw | Wait


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts the backend reports."""

    prompt: int = 100
    completion: int = 10
    cached: int = 0
    reasoning: int = 0
    cache_written: int = 0

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }
        if self.cache_written:
            told["prompt_tokens_details"]["cache_write_tokens"] = self.cache_written
        if self.reasoning:
            told["completion_tokens_details"] = {"reasoning_tokens": self.reasoning}
        return told


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the backend and how it travels.

    Attributes:
        parts: what is said, in order.
        finish_reason: None stands for ``tool_calls`` where tools are called, else ``stop``.
        piece: characters of text or arguments in one delta.
        usage: the counts reported; None for a backend that reports none.
        comments: a keep-alive comment before each event.
        crlf: lines end in CR LF.
        done: the stream ends with ``[DONE]``.
        last_blank_line: the last event ends with its blank line, as it must.
        write_every: the stream is written this many bytes at a time.
        write_at: the stream is cut into writes at these byte positions instead.
        ignore_stream: one JSON object is the answer even where a stream was asked for.
        hang: after the parts nothing follows until the client leaves.
        die_after_events, die_after_bytes: then the connection is dropped; a whole answer is cut
            the sooner the fewer events there were to be.
        status, headers: of the response.
        body: the whole response body, in place of everything above.
    """

    parts: tuple[Part, ...] = ()
    finish_reason: str | None = None
    piece: int = 5
    usage: Usage | None = Usage()
    comments: bool = False
    crlf: bool = False
    done: bool = True
    last_blank_line: bool = True
    write_every: int | None = None
    write_at: tuple[int, ...] = ()
    ignore_stream: bool = False
    hang: bool = False
    die_after_events: int | None = None
    die_after_bytes: int | None = None
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = None

    def __add__(self, other: Reply) -> Reply:
        """Say the other's parts after these; how it travels stays as it is on the left."""
        return self.but(parts=self.parts + other.parts, hang=self.hang or other.hang)

    def but(self, **changes: Any) -> Reply:
        """The same reply with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def die_after(self, *, events: int | None = None, bytes: int | None = None) -> Reply:
        """The same reply, cut off by a dropped connection."""
        return self.but(die_after_events=events, die_after_bytes=bytes)

    def finish(self, index: int) -> str:
        """The finish reason of one choice."""
        called = any(isinstance(part, Call) and part.index == index for part in self.parts)
        return self.finish_reason or ("tool_calls" if called else "stop")

    def choices(self) -> list[int]:
        return sorted({part.index for part in self.parts if isinstance(part, Text | Call)} | {0})


def text(content: str) -> Reply:
    """Plain assistant content."""
    return Reply((Text(content),))


thoughts = text
"""Content beside calls: the inner thoughts, in the paper's way of speaking."""


def reasoning(content: str) -> Reply:
    """Thoughts in the field that reasoning models' servers use."""
    return Reply((Text(content, "reasoning_content"),))


def call(name: str, arguments: Mapping[str, Any] | str, *, id: str | None = None) -> Reply:
    """A tool call; arguments as an object, or as the raw text the model wrote."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return Reply((Call(name, written, id),))


def choices(*replies: Reply) -> Reply:
    """Several choices of one answer (``n`` > 1), each given as a reply."""
    parts = [
        dataclasses.replace(part, index=index) if isinstance(part, Text | Call) else part
        for index, reply in enumerate(replies)
        for part in reply.parts
    ]
    return replies[0].but(parts=tuple(parts))


def event(data: Mapping[str, Any] | str) -> Reply:
    """A stream's event with exactly this data."""
    return Reply((Raw(data if isinstance(data, str) else json.dumps(data)),))


def wait(gate: Gate) -> Reply:
    """Hold the stream back until the gate is opened."""
    return Reply((Wait(gate),))


def hang() -> Reply:
    """Answer nothing, or nothing more behind other parts, until the client leaves."""
    return Reply(hang=True)


def error(
    status: int,
    body: Mapping[str, Any] | str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error response; without a body, one in OpenAI's shape."""
    if body is None:
        body = {"error": {"message": f"scripted {status}", "type": "scripted_error", "code": None}}
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Reply(status=status, body=body, headers=headers or {})
