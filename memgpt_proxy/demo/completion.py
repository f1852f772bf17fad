"""An answer on the wire: as a whole completion and as the chunks of a stream.

Tokens are counted in pieces: a run of at most `PIECE` characters without a space, with the space
in front of it. A streamed delta carries one piece.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from memgpt_proxy.demo.model import Answer
from memgpt_proxy.demo.request import MODEL, ChatRequest

PIECE = 6
"""Characters of a piece at most, without the white space in front of it."""

_PIECES = re.compile(rf"\s*\S{{1,{PIECE}}}|\s+$")


def pieces(text: str) -> list[str]:
    """A text in pieces that make it up again when joined."""
    return _PIECES.findall(text)


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to one request, with what identifies it on the wire."""

    id: str
    created: int
    choices: Sequence[Answer]
    prompt_tokens: int

    @classmethod
    def of(cls, request: ChatRequest, answer: Answer) -> "Completion":
        """The completion of a request: the same answer for each choice asked for."""
        asked = json.dumps([request.messages, request.tools], ensure_ascii=False)
        return cls(
            id=f"chatcmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            choices=[answer] * request.choices,
            prompt_tokens=len(pieces(asked)),
        )

    def whole(self) -> dict[str, Any]:
        """The completion as one object."""
        choices = [
            {"index": n, "message": _message(answer), "finish_reason": _reason(answer)}
            for n, answer in enumerate(self.choices)
        ]
        return {**self._head("chat.completion"), "choices": choices, "usage": self._usage()}

    def chunks(self, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The completion as the chunks of a stream, the usage last where it is asked for."""
        head = self._head("chat.completion.chunk")
        for number, answer in enumerate(self.choices):
            for delta in _deltas(answer):
                yield {**head, "choices": [_choice(number, delta, None)]}
            yield {**head, "choices": [_choice(number, {}, _reason(answer))]}
        if include_usage:
            yield {**head, "choices": [], "usage": self._usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": MODEL}

    def _usage(self) -> dict[str, int]:
        said = sum(map(_length, self.choices))
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self.prompt_tokens + said,
        }


def _reason(answer: Answer) -> str:
    return "tool_calls" if answer.calls else "stop"


def _content(answer: Answer) -> str:
    return answer.thoughts if answer.calls else answer.content


def _length(answer: Answer) -> int:
    texts = [_content(answer), *(c.name + json.dumps(dict(c.arguments)) for c in answer.calls)]
    return sum(len(pieces(text)) for text in texts)


def _tool_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": _json(call.arguments)},
        }
        for call in answer.calls
    ]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _message(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": _content(answer), "refusal": None}
    return {**message, "tool_calls": _tool_calls(answer)} if answer.calls else message


def _choice(number: int, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": number, "delta": delta, "finish_reason": reason}


def _deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for piece in pieces(_content(answer)):
        yield {"content": piece}
    for number, call in enumerate(_tool_calls(answer)):
        opened = {**call, "function": {**call["function"], "arguments": ""}}
        yield {"tool_calls": [{"index": number, **opened}]}
        for piece in pieces(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
