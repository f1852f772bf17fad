"""A reply that broke off: what was said is remembered, each word of it once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings


def events(*deltas: dict[str, Any], done: bool) -> httpx.Response:
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    body = "".join([*lines, "data: [DONE]\n\n" if done else ""])
    return httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})


def sending(arguments: str) -> dict[str, Any]:
    function = {"name": "send_message", "arguments": arguments}
    return {"tool_calls": [{"index": 0, "id": "s", "function": function}]}


def script() -> Iterator[httpx.Response]:
    yield events(sending('{"message": "Let me look.", "request_heartbeat": true}'), done=True)
    yield events(sending('{"message": "I fou'), done=False)
    yield events(sending('{"message": "Yes."}'), done=True)


async def test_what_was_said_before_it_broke_off_is_remembered_once(tmp_path: Path) -> None:
    asked: list[Any] = []
    answers = script()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404)
        asked.append(json.loads(request.content))
        return next(answers)

    transport = httpx.MockTransport(answer)
    app = create_app(Settings(data_dir=tmp_path), "http://backend/v1", transport=transport)
    async with app.opened(), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        for messages in (
            [{"role": "user", "content": "Where is it?"}],
            [
                {"role": "user", "content": "Where is it?"},
                {"role": "assistant", "content": "Let me look."},
                {"role": "user", "content": "Did you find it?"},
            ],
        ):
            await client.post(
                "http://gateway/v1/chat/completions",
                headers={"authorization": "Bearer k"},
                json={"model": "m", "messages": messages, "stream": True},
            )
    prompt = asked[2]["messages"]
    assert [m["role"] for m in prompt[2:]] == ["user", "assistant", "tool", "user"]
    assert json.dumps(prompt).count("Let me look.") == 1
