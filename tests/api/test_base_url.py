"""A client with another base URL than the gateway's is told what it should be."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings

ASKED = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}


async def answer(
    tmp_path: Path, method: str, url: str, headers: dict[str, str] | None = None
) -> tuple[httpx.Response, list[str]]:
    """Return what the gateway answers, and what its backend was asked for."""
    seen: list[str] = []

    def complete(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200, json={})

    app = create_app(
        Settings(data_dir=tmp_path), "http://backend/v1", transport=httpx.MockTransport(complete)
    )
    given = {"authorization": "Bearer k", **(headers or {})}
    async with app.opened(), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        body = ASKED if method == "POST" else None
        return await client.request(method, url, json=body, headers=given), seen


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/v1/chat/completions"),
        ("POST", "/v1/v1/responses"),
        ("GET", "/v1/v1/models"),
        ("GET", "/v1/v1"),
        ("POST", "/chat/completions"),
        ("GET", "/models"),
        ("GET", "/v1"),
        ("GET", "/"),
    ],
)
async def test_it_is_told_the_right_one(tmp_path: Path, method: str, path: str) -> None:
    told, seen = await answer(tmp_path, method, f"http://127.0.0.1:8484{path}")
    assert (told.status_code, seen) == (404, [])
    assert told.json()["error"]["message"] == (
        f"Not Found: {method} {path}. The API is under /v1: a client's base URL is "
        "http://127.0.0.1:8484/v1"
    )


async def test_behind_a_proxy_with_tls(tmp_path: Path) -> None:
    forwarded = {"x-forwarded-proto": "https"}
    told, _ = await answer(tmp_path, "GET", "http://localhost/models", forwarded)
    assert told.json()["error"]["message"].endswith(" is https://localhost/v1")


async def test_one_that_only_begins_so_is_the_backends(tmp_path: Path) -> None:
    told, seen = await answer(tmp_path, "GET", "http://127.0.0.1:8484/v1/v1beta/models")
    assert (told.status_code, seen) == (200, ["/v1/v1beta/models"])
