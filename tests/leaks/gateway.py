"""The gateway's own application in this process, in front of a backend that plays steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from memgpt_proxy.app import create_app
from memgpt_proxy.config import ReplyMode, Settings

DEADLINE = 20.0

Answer = Callable[[Any], tuple[list[bytes], str]]
"""Gives the writes of a response to a request, and their content type."""


class Writes(httpx.AsyncByteStream):
    def __init__(self, writes: Sequence[bytes]) -> None:
        self._writes = writes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for write in self._writes:
            yield write


class InProcess:
    """A gateway in a thread with an event loop, asked by tests that are not asynchronous."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self.answer: Answer = lambda _: ([], "text/plain")
        self.ready: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._settings = Settings(data_dir=directory, **settings)

    @property
    def by_content(self) -> bool:
        """Whether the operator wants models to reply in plain content."""
        return self._settings.reply_mode is ReplyMode.CONTENT

    @property
    def in_text(self) -> bool:
        """Whether the backend has no tools."""
        return bool(self._settings.backend_profile)

    async def serve(self) -> None:
        """Be there until ``close``."""
        transport = httpx.MockTransport(self._respond)
        app = create_app(self._settings, "http://backend/v1", transport=transport)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
        async with app.opened(), client:
            self._client = client
            self.ready.set_result(asyncio.get_running_loop())
            await self._stop.wait()

    def ask(self, key: str, body: dict[str, Any]) -> httpx.Response:
        """Send one chat request; return all that came back."""
        headers = {"authorization": f"Bearer {key}"}
        loop = self.ready.result(DEADLINE)
        asked = self._client.post("/v1/chat/completions", json=body, headers=headers)
        return asyncio.run_coroutine_threadsafe(asked, loop).result(DEADLINE)

    def close(self) -> None:
        """End ``serve``."""
        self.ready.result(DEADLINE).call_soon_threadsafe(self._stop.set)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404)
        writes, kind = self.answer(json.loads(request.content))
        return httpx.Response(200, headers={"content-type": kind}, stream=Writes(writes))


@contextmanager
def in_process(directory: Path, **settings: Any) -> Iterator[InProcess]:
    """Open a gateway for as long as this lasts."""
    gateway = InProcess(directory, settings)
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: asyncio.run(gateway.serve()))
        try:
            yield gateway
        finally:
            gateway.close()
            served.result(DEADLINE)
