"""The gateway in process: the real application over a real database, and a clock to set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memgpt_proxy.api.authentication import Authenticator, load_secret
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.storage import DATABASE
from memgpt_proxy.stores.records import Namespace
from tests.simulation.backend import Backend, Hold

KEY = "sk-simulated"


@dataclass(slots=True)
class Calendar:
    """A clock that stands still until it is moved."""

    now: datetime = datetime(2026, 2, 7, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(slots=True)
class Answer:
    """What a client has received.

    Attributes:
        calls: Calls of the client's own tools, as they stand in a message.
        whole: It got all of it.
    """

    status: int = 0
    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False


class Gateway:
    """The application on one data directory; it can be stopped and started anew."""

    def __init__(
        self, directory: Path, backend: Backend, calendar: Calendar, **settings: Any
    ) -> None:
        self.database = directory / DATABASE
        self._settings = Settings(data_dir=directory, **settings)
        self._backend = backend
        self._calendar = calendar
        self._running = AsyncExitStack()

    async def start(self) -> None:
        self._app = create_app(
            self._settings, "http://model/v1", clock=self._calendar, transport=self._backend
        )
        await self._running.enter_async_context(self._app.opened())

    @property
    def namespace(self) -> Namespace:
        """Whose memory it is."""
        secret = load_secret(self._settings.data_dir / "namespace.secret")
        return Authenticator(secret, (), anonymous=False).namespace(KEY.encode(), None)

    async def stop(self) -> None:
        await self._running.aclose()

    async def ask(
        self, body: bytes, headers: Mapping[str, str], hold: Hold | None = None
    ) -> Answer:
        """Send one request; with ``hold`` the client leaves once the reply stops there."""
        given = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(n.lower().encode(), v.encode()) for n, v in given.items()],
        }
        connection = _Connection(body, hold)
        self._backend.hold = hold
        try:
            await self._app(scope, connection.receive, connection.send)
        finally:
            self._backend.hold = None
        return connection.answer()


class _Connection:
    """A client's end of one request."""

    def __init__(self, body: bytes, hold: Hold | None) -> None:
        self._body: bytes | None = body
        self._left = hold.reached if hold else asyncio.Event()
        self._received = b""
        self._status = 0
        self._headers: dict[str, str] = {}

    async def receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {n.decode(): v.decode() for n, v in message["headers"]}
        else:
            self._received += message.get("body", b"")

    def answer(self) -> Answer:
        answer = Answer(self._status, headers=self._headers)
        if self._status != 200:
            answer.text = self._received.decode()
        elif self._headers["content-type"].startswith("application/json"):
            _gather_whole(answer, self._received)
        else:
            _gather_stream(answer, self._received)
        return answer


def _gather_whole(answer: Answer, received: bytes) -> None:
    message = json.loads(received)["choices"][0]["message"]
    answer.text, answer.calls = message["content"] or "", message.get("tool_calls") or []
    answer.whole = True


def _gather_stream(answer: Answer, received: bytes) -> None:
    for event in received.decode().split("\n\n"):
        data = event.removeprefix("data: ")
        if data == "[DONE]":
            answer.whole = True
        elif data and not data.startswith(":"):
            for choice in json.loads(data)["choices"]:
                _add(answer, choice["delta"])


def _add(answer: Answer, delta: dict[str, Any]) -> None:
    answer.text += delta.get("content") or ""
    for part in delta.get("tool_calls") or ():
        if part["index"] == len(answer.calls):
            answer.calls.append({k: part[k] for k in ("id", "type", "function")})
        else:
            called = answer.calls[part["index"]]["function"]
            called["arguments"] += part["function"]["arguments"]
