"""A backend whose model does a bit of everything: replies, remembers, searches, fails."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from benchmarks.long_conversation.server import serve

MODELS = ("small", "large")
BYTES_PER_TOKEN = 4
CACHED = 0.85
PIECE = 12
FAILURES = {429: 0.02, 500: 0.01}
REMEMBER = "working_context_append"
CALLS: dict[str, tuple[float, dict[str, Any]]] = {
    REMEMBER: (0.12, {"content": "Likes tea."}),
    "archival_storage_insert": (0.08, {"content": "A note about tea."}),
    "recall_storage_search": (0.12, {"query": "tea"}),
    "archival_storage_search": (0.08, {"query": "tea"}),
}
AT_ONCE = "Remember this at once."
"""A message that is remembered without a pause, so that two of them come to the store together."""
REPLY = "Tea it is, then, with a little milk and nothing else at all. "


def app() -> Starlette:
    chance = random.Random(1)

    async def models(_: Request) -> Response:
        listed = [{"id": name, "object": "model"} for name in MODELS]
        return JSONResponse({"object": "list", "data": listed})

    async def complete(request: Request) -> Response:
        raw = await request.body()
        for status, part in FAILURES.items():
            if chance.random() < part:
                error = {"message": f"status {status}", "type": "server_error"}
                return JSONResponse({"error": error}, status_code=status)
        return StreamingResponse(_answer(raw, chance), media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/chat/completions", complete, methods=["POST"]),
        ]
    )


async def _answer(raw: bytes, chance: random.Random) -> AsyncIterator[bytes]:
    body = orjson.loads(raw)
    slow = 4 if body["model"] == "large" else 1
    if not _is_at_once(body):
        await asyncio.sleep(slow * chance.expovariate(20))
    prompt, written = len(raw) // BYTES_PER_TOKEN, 0
    for delta in _deltas(body, chance):
        written += 1
        yield _chunk(body["model"], [{"index": 0, "delta": delta, "finish_reason": None}])
        if not _is_at_once(body):
            await asyncio.sleep(slow * 0.005)
    reason = "tool_calls" if "tools" in body else "stop"
    yield _chunk(body["model"], [{"index": 0, "delta": {}, "finish_reason": reason}])
    cached = int(prompt * CACHED * chance.random() ** 0.2)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": 3 * written,
        "total_tokens": prompt + 3 * written,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": prompt - cached},
        "completion_tokens_details": {"reasoning_tokens": written},
    }
    yield _chunk(body["model"], [], usage=usage)
    yield b"data: [DONE]\n\n"


def _deltas(body: dict[str, Any], chance: random.Random) -> list[dict[str, Any]]:
    if "tools" not in body:
        return [{"content": "They talked about tea. "} for _ in range(10)]
    name, arguments = _called(body, chance)
    text = orjson.dumps(arguments).decode()
    function = {"name": name, "arguments": ""}
    first = {"index": 0, "id": f"call_{chance.random()}", "type": "function", "function": function}
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    return [{"tool_calls": [each]} for each in (first, *rest)]


def _is_at_once(body: dict[str, Any]) -> bool:
    return AT_ONCE in str(body["messages"][-1]["content"])


def _called(body: dict[str, Any], chance: random.Random) -> tuple[str, dict[str, Any]]:
    offered = {tool["function"]["name"] for tool in body["tools"]}
    if _is_at_once(body):
        return REMEMBER, {"content": f"Tea at {chance.random()}.", "request_heartbeat": True}
    point = chance.random()
    for name, (part, arguments) in CALLS.items():
        point -= part
        if point < 0 and name in offered:
            return name, {**arguments, "request_heartbeat": True}
    return "send_message", {"message": REPLY * chance.randrange(1, 6)}


def _chunk(model: str, choices: list[dict[str, Any]], **more: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return b"data: " + orjson.dumps({**head, "choices": choices, **more}) + b"\n\n"


if __name__ == "__main__":
    serve(app(), int(sys.argv[1]))
