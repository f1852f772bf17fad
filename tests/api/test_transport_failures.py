"""The gateway over a transport that fails, and the search for a server on this machine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from memgpt_proxy.app import create_app
from memgpt_proxy.backend.discovery import LOCAL_SERVERS, FoundServer, find_local_server
from memgpt_proxy.config import Settings

BACKEND = "http://backend.test/v1"
REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
KEY = {"authorization": "Bearer sk-1"}


class Breaking(httpx.AsyncByteStream):
    """A body that fails on its way."""

    def __init__(self, *parts: bytes, error: Exception) -> None:
        self._parts = parts
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        raise self._error


@pytest.fixture
def router() -> respx.Router:
    router = respx.Router(assert_all_called=False)
    router.get(f"{BACKEND}/models").respond(json={"data": []})
    return router


@asynccontextmanager
async def gateway(directory: Path, router: respx.Router) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway, in process, whose backend is the router."""
    transport = httpx.MockTransport(router.async_handler)
    app = create_app(Settings(data_dir=directory), BACKEND, transport=transport)
    lifespan = app.rest.router.lifespan_context  # type: ignore[attr-defined]
    async with (
        lifespan(app.rest),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://gateway/v1", headers=KEY
        ) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (httpx.ConnectTimeout("slow"), 504, "backend_timeout"),
        (httpx.PoolTimeout("full"), 504, "backend_timeout"),
        (httpx.ReadTimeout("slow"), 504, "backend_timeout"),
        (httpx.ConnectError("refused"), 502, "backend_unreachable"),
        (httpx.UnsupportedProtocol("gopher"), 502, "backend_unreachable"),
        (httpx.RemoteProtocolError("odd"), 502, "backend_unreachable"),
        (httpx.ReadError("reset"), 502, "backend_unreachable"),
        (httpx.WriteError("reset"), 502, "backend_unreachable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_transport_that_fails_is_a_clear_error(
    tmp_path: Path, router: respx.Router, error: Exception, status: int, code: str, stream: bool
):
    router.post(f"{BACKEND}/chat/completions").mock(side_effect=error)
    router.get(f"{BACKEND}/files").mock(side_effect=error)
    async with gateway(tmp_path, router) as client:
        chat = await client.post("/chat/completions", json={**REQUEST, "stream": stream})
        forwarded = await client.get("/files")
    for response in (chat, forwarded):
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (httpx.ReadError("reset"), 502, "backend_broken"),
        (httpx.RemoteProtocolError("odd"), 502, "backend_broken"),
        (httpx.ReadTimeout("slow"), 504, "backend_timeout"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_a_body_that_fails_is_a_clear_error(
    tmp_path: Path, router: respx.Router, error: Exception, status: int, code: str
):
    choice = {"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    first = b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"
    for kind, parts in (
        ("text/event-stream", (first, b"data: {")),
        ("application/json", (b'{"id": ',)),
    ):
        body = Breaking(*parts, error=error)
        answer = httpx.Response(200, headers={"content-type": kind}, stream=body)
        router.post(f"{BACKEND}/chat/completions").mock(return_value=answer)
        async with gateway(tmp_path, router) as client:
            response = await client.post("/chat/completions", json=REQUEST)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_a_refusal_that_breaks_off_is_an_error_of_ours(tmp_path: Path, router: respx.Router):
    body = Breaking(b'{"error"', error=httpx.ReadError("reset"))
    router.post(f"{BACKEND}/chat/completions").mock(return_value=httpx.Response(429, stream=body))
    async with gateway(tmp_path, router) as client:
        response = await client.post("/chat/completions", json=REQUEST)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "backend_broken")


# Looking for a server on this machine


def listed(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


async def found(answers: dict[int, Any]) -> FoundServer | None:
    """Look around where servers answer so, by their ports; an Exception is raised."""
    router = respx.Router(assert_all_called=False)
    for server in LOCAL_SERVERS:
        answer = answers.get(server.port, httpx.ConnectError("refused"))
        route = router.get(f"http://127.0.0.1:{server.port}/v1/models")
        if isinstance(answer, Exception):
            route.mock(side_effect=answer)
        else:
            route.mock(return_value=answer)
    return await find_local_server(httpx.MockTransport(router.async_handler))


async def test_nothing_is_found_where_nothing_listens():
    assert await found({}) is None


@pytest.mark.parametrize(
    ("name", "port"), [("Ollama", 11434), ("LM Studio", 1234), ("llama.cpp", 8080), ("vLLM", 8000)]
)
async def test_a_server_is_found_at_its_usual_port(name: str, port: int):
    server = await found({port: httpx.Response(200, json=listed("a", "b"))})
    assert server == FoundServer(name, f"http://127.0.0.1:{port}/v1", "a")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, text="no such page"),
        httpx.Response(200, text="<html>Some other program</html>"),
        httpx.Response(200, json=listed()),
        httpx.Response(200, json=[1]),
        httpx.Response(200, json={"data": None}),
        httpx.Response(200, json={"data": 7}),
        httpx.Response(200, json={"data": [{"id": 7}, "x"]}),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("no HTTP at all"),
    ],
    ids=repr,
)
async def test_another_program_at_that_port_is_passed_over(answer: Any):
    server = await found({11434: answer, 8000: httpx.Response(200, json=listed("m"))})
    assert server is not None
    assert server.name == "vLLM"
