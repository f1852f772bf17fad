"""The model's server, as a transport of httpx: what the gateway asks is answered in process."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx
import tiktoken

from tests.simulation.model import SUMMARY_TASK, Call, Step, answer, arguments

_PIECE = 60
_IMAGE = 85
"""Tokens of an image in low detail."""


@lru_cache(maxsize=1)
def encoding() -> tiktoken.Encoding:
    """The backend's own tokenizer: not the one that the gateway counts by."""
    return tiktoken.get_encoding("o200k_base")


@lru_cache(maxsize=50_000)
def tokens_of(text: str) -> int:
    return len(encoding().encode_ordinary(text))


def prompt_tokens(body: dict[str, Any]) -> int:
    """Count a request as a backend would: texts, calls, declarations, a little for each message."""
    count = tokens_of(json.dumps(body["tools"])) if "tools" in body else 0
    return count + sum(map(_message_tokens, body["messages"]))


def _message_tokens(message: dict[str, Any]) -> int:
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    count = 3 + sum(tokens_of(p["text"]) if p["type"] == "text" else _IMAGE for p in parts)
    for call in message.get("tool_calls") or ():
        function = call["function"]
        count += 3 + tokens_of(function["name"]) + tokens_of(function["arguments"])
    return count


@dataclass(slots=True)
class Prompt:
    """A request as it arrived, what it counts, and the step that answered it."""

    raw: bytes
    body: dict[str, Any]
    tokens: int
    step: Step
    finished: bool = False

    @property
    def is_summary(self) -> bool:
        content: str = self.body["messages"][0]["content"]
        return content.startswith(SUMMARY_TASK)


@dataclass(slots=True)
class Hold:
    """Where the next turn's reply stops coming: after so many characters of its message.

    With ``after`` None not even a first byte comes. ``reached`` is set when it has stopped.
    """

    after: int | None
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class Backend(httpx.AsyncBaseTransport):
    """Answers by the scripted model and remembers the prompts since they were last taken.

    Attributes:
        hold: Where replies stop coming.
        steps: What the model does next instead of what it would do by itself.
    """

    def __init__(self) -> None:
        self._prompts: list[Prompt] = []
        self.hold: Hold | None = None
        self.steps: deque[Step] = deque()

    def take_prompts(self) -> list[Prompt]:
        prompts, self._prompts = self._prompts, []
        return prompts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/chat/completions"):
            return httpx.Response(200, json={"object": "list", "data": []})
        raw = await request.aread()
        body = json.loads(raw)
        step = self.steps.popleft() if self.steps else answer(body)
        prompt = Prompt(raw, body, prompt_tokens(body), step)
        self._prompts.append(prompt)
        hold = None if prompt.is_summary else self.hold
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=_Stream(prompt, hold))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, prompt: Prompt, hold: Hold | None) -> None:
        self._prompt = prompt
        self._hold = hold

    async def __aiter__(self) -> AsyncIterator[bytes]:
        said = 0
        if self._hold and self._hold.after is None:
            await self._stop(self._hold)
        for delta, characters in _deltas(self._prompt.step):
            if self._hold and self._hold.after is not None and said > self._hold.after:
                await self._stop(self._hold)
            said += characters
            yield _event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        reason = "tool_calls" if self._prompt.step.calls else "stop"
        self._prompt.finished = True
        usage = {"prompt_tokens": self._prompt.tokens, "completion_tokens": 1}
        usage["total_tokens"] = sum(usage.values())
        yield (
            _event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
            + _event({"choices": [], "usage": usage})
            + b"data: [DONE]\n\n"
        )

    async def _stop(self, hold: Hold) -> None:
        hold.reached.set()
        await asyncio.Event().wait()


def _event(fields: dict[str, Any]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**head, **fields}).encode() + b"\n\n"


def _deltas(step: Step) -> Iterator[tuple[dict[str, Any], int]]:
    """Give each delta with the characters of the message to the user that it brings."""
    yield {"role": "assistant", "content": ""}, 0
    for piece in _pieces(step.content):
        yield {"content": piece}, 0 if step.calls else len(piece)
    for index, call in enumerate(step.calls):
        for fragment in _fragments(call):
            text = fragment["function"]["arguments"]
            said = len(text) if call.name == "send_message" else 0
            yield {"tool_calls": [{"index": index, **fragment}]}, said


def _fragments(call: Call) -> Iterator[dict[str, Any]]:
    function = {"name": call.name, "arguments": ""}
    yield {"id": call.id, "type": "function", "function": function}
    for piece in _pieces(arguments(call)):
        yield {"function": {"arguments": piece}}


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
