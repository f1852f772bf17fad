"""The mock backend: replies by send_message, counts usage, and tells the sizes of its prompts."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.long_conversation.client import MODEL, REPLY_WORDS, words
from benchmarks.long_conversation.server import serve

SUMMARY_WORDS = 200
PIECE = 30
BYTES_PER_TOKEN = 4
WINDOW = 8192


@dataclass(slots=True)
class Prompts:
    """Sizes in bytes of the requests since they were last asked for."""

    steps: list[int] = field(default_factory=list)
    summaries: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Backend:
    """The server's state: what it was sent, and how often it has answered."""

    prompts: Prompts = field(default_factory=Prompts)
    answers: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
                Route("/prompts", self.take_prompts, methods=["POST"]),
            ]
        )

    async def models(self, _: Request) -> Response:
        model = {"id": MODEL, "object": "model", "context_window": WINDOW}
        return JSONResponse({"object": "list", "data": [model]})

    async def complete(self, request: Request) -> Response:
        body = await request.body()
        is_step = "tools" in orjson.loads(body)
        (self.prompts.steps if is_step else self.prompts.summaries).append(len(body))
        self.answers += 1
        name = f"answer {self.answers}"
        deltas = replied(words(name, REPLY_WORDS)) if is_step else said(words(name, SUMMARY_WORDS))
        answer = b"".join([*map(chunk, deltas), ending(len(body), is_step=is_step)])
        return Response(answer, media_type="text/event-stream")

    async def take_prompts(self, _: Request) -> Response:
        taken, self.prompts = self.prompts, Prompts()
        return JSONResponse(asdict(taken))


def said(text: str) -> Iterator[dict[str, Any]]:
    return ({"content": piece} for piece in pieces(text))


def replied(text: str) -> Iterator[dict[str, Any]]:
    """A call of send_message, its arguments in pieces."""
    function = {"name": "send_message", "arguments": ""}
    yield {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
    for piece in pieces(orjson.dumps({"message": text}).decode()):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def ending(size: int, *, is_step: bool) -> bytes:
    reason = "tool_calls" if is_step else "stop"
    prompt = size // BYTES_PER_TOKEN
    usage = {"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}
    last = event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"
    return chunk({}, reason) + last


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def event(fields: dict[str, Any]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return b"data: " + orjson.dumps(head | fields) + b"\n\n"


if __name__ == "__main__":
    serve(Backend().app(), int(sys.argv[1]))
