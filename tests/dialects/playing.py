"""Playing bytes to the gateway, as a backend's answers, and reading what a client gets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.leaks.gateway import InProcess

NUMBERS = count()
EVENTS, JSON = "text/event-stream", "application/json"


@dataclass(frozen=True, slots=True)
class Body:
    """A response's body, its content type, and the sizes of its writes."""

    data: bytes
    kind: str = EVENTS
    size: int = 2**20

    def writes(self) -> list[bytes]:
        return [self.data[at : at + self.size] for at in range(0, len(self.data), self.size)]


@dataclass(slots=True)
class Told:
    """What a client got: text, calls of its own tools, and an error's code."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    reason: str | None = None
    error: str | None = None


def chunk(delta: Any, reason: Any = None, **more: Any) -> str:
    """One chunk, as JSON."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return json.dumps({**head, "choices": [choice], **more}, ensure_ascii=False)


def stream(*events: str, end: str = "\n", done: bool = True) -> Body:
    """A stream of these events."""
    payloads = [*events, *(["[DONE]"] if done else [])]
    return Body("".join(f"data: {payload}{end}{end}" for payload in payloads).encode())


def ask(
    gateway: InProcess, bodies: Sequence[Body], *, streams: bool, **asked: Any
) -> tuple[Told, list[Any]]:
    """Ask, while the backend answers with these; the last of them again and again.

    Also returns the requests that the backend got.
    """
    response, requests = ask_raw(gateway, bodies, stream=streams, **asked)
    return read(response), requests


def ask_raw(
    gateway: InProcess, bodies: Sequence[Body], **asked: Any
) -> tuple[httpx.Response, list[Any]]:
    """The same, with all that came back."""
    requests: list[Any] = []

    def answer(request: Any) -> tuple[list[bytes], str]:
        requests.append(request)
        body = bodies[min(len(requests), len(bodies)) - 1]
        return body.writes(), body.kind

    gateway.answer = answer
    number = next(NUMBERS)
    body = {"model": f"model-{number}", "messages": [{"role": "user", "content": "Hello"}]}
    return gateway.ask(f"key-{number}", {**body, **asked}), requests


def read(response: httpx.Response) -> Told:
    """Read what came, streamed or not."""
    if not response.headers["content-type"].startswith(EVENTS):
        return _whole(response.json())
    told = Told()
    for event in filter(None, response.text.split("\n\n")):
        payload = event.removeprefix("data: ")
        if not event.startswith(":") and payload != "[DONE]":
            _take(told, json.loads(payload))
    told.calls = [(name, json.loads(text)) for name, text in told.calls]
    return told


def _whole(body: dict[str, Any]) -> Told:
    if "error" in body:
        return Told(error=body["error"]["code"])
    (choice,) = body["choices"]
    message = choice["message"]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    calls = [(function["name"], json.loads(function["arguments"])) for function in functions]
    return Told(message["content"] or "", calls, choice["finish_reason"])


def _take(told: Told, event: dict[str, Any]) -> None:
    if "error" in event:
        told.error = event["error"]["code"]
    for choice in event.get("choices", ()):
        told.text += choice["delta"].get("content") or ""
        told.reason = choice["finish_reason"] or told.reason
        for call in choice["delta"].get("tool_calls") or ():
            function = call["function"]
            if call["index"] == len(told.calls):
                told.calls.append((function["name"], ""))
            name, text = told.calls[call["index"]]
            told.calls[call["index"]] = name, text + function["arguments"]
