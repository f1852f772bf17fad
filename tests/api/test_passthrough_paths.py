"""What is forwarded stays below the backend's base URL, where its key may be used."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings

PATHS = {
    b"/v1/models": ["/v1/models"],
    b"/v1/a..b": ["/v1/a..b"],
    b"/v1/%2e%2e/metrics": [],
    b"/v1/files/..%2f..%2fmetrics": [],
}


@pytest.mark.parametrize(("path", "asked"), PATHS.items(), ids=str)
async def test_paths(tmp_path: Path, path: bytes, asked: list[str]) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200)

    app = create_app(
        Settings(data_dir=tmp_path), "http://backend/v1", transport=httpx.MockTransport(answer)
    )
    async with app.opened(), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        url = httpx.URL("http://gateway/", raw_path=path)
        response = await client.get(url, headers={"authorization": "Bearer k"})
    assert seen == asked
    assert response.status_code == (200 if asked else 400)
