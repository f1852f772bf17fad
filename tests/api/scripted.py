"""A gateway in the test's own event loop, in front of a backend whose answers are a script."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings

Message = dict[str, Any]
EVENTS = {"content-type": "text/event-stream"}
DONE = b"data: [DONE]\n\n"


class Reads(httpx.AsyncByteStream):
    """The body of an answer as the network gives it, one read after the other."""

    def __init__(self, *reads: bytes) -> None:
        self._reads = reads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for read in self._reads:
            yield read


def answer(*reads: bytes) -> httpx.Response:
    """A stream that comes in these network reads."""
    return httpx.Response(200, stream=Reads(*reads), headers=EVENTS)


def events(*deltas: Message) -> bytes:
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks)


def calling(name: str, arguments: str, *, id: str = "s", index: int = 0) -> Message:
    """A piece of a call; ``arguments`` may be any part of its text."""
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": id, "function": function}]}


def sending(arguments: str) -> Message:
    return calling("send_message", arguments)


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


@dataclass(slots=True)
class Scene:
    """Somebody in front of the gateway; ``prompts`` are the messages of all that it asked for."""

    client: httpx.AsyncClient
    prompts: list[list[Message]]

    async def ask(self, *messages: Message, **more: Any) -> httpx.Response:
        return await self.client.post(
            "http://gateway/v1/chat/completions",
            headers={"authorization": "Bearer k"},
            json={"model": "m", "messages": messages, "stream": True, **more},
        )

    async def own(self, path: str) -> Any:
        """What the owner of the memory reads at one of our own paths."""
        headers = {"authorization": "Bearer k"}
        return (await self.client.get(f"http://gateway/memgpt/{path}", headers=headers)).json()


@asynccontextmanager
async def scripted(tmp_path: Path, *answers: httpx.Response) -> AsyncIterator[Scene]:
    """Start a gateway whose backend gives these answers, one a request."""
    prompts: list[list[Message]] = []
    script = iter(answers)

    def complete(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404)
        prompts.append(json.loads(request.content)["messages"])
        return next(script)

    transport = httpx.MockTransport(complete)
    app = create_app(Settings(data_dir=tmp_path), "http://backend/v1", transport=transport)
    async with app.opened(), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        yield Scene(client, prompts)
