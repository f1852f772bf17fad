"""A store that fails in the middle of a turn: the answer comes all the same, and says so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.storage import DATABASE
from tests.support.scrape import samples

BOOK = "A sentence of the book.\n" * 4000


def completion(request: httpx.Request) -> httpx.Response:
    if request.method == "GET":
        return httpx.Response(404)
    message = {"role": "assistant", "content": "Hello."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return httpx.Response(200, json={"id": "c1", "choices": [choice]})


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.MockTransport(completion)
    app = create_app(Settings(data_dir=tmp_path), "http://backend/v1", transport=transport)
    async with app.opened(), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as opened:
        yield opened


def refuse_inserts(data_dir: Path, table: str) -> None:
    with closing(sqlite3.connect(data_dir / DATABASE)) as database:
        database.execute(
            f"CREATE TRIGGER full_{table} BEFORE INSERT ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'full'); END"
        )


def accept_inserts(data_dir: Path, table: str) -> None:
    with closing(sqlite3.connect(data_dir / DATABASE)) as database:
        database.execute(f"DROP TRIGGER full_{table}")


async def ask(client: httpx.AsyncClient, content: str, **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    return await client.post(
        "http://gateway/v1/chat/completions",
        headers={"authorization": "Bearer k"},
        content=json.dumps(body),
    )


async def unstored(client: httpx.AsyncClient) -> dict[str, float]:
    """How many turns are not stored, as metrics tell, for each reason."""
    told = samples((await client.get("http://gateway/metrics")).text)
    counted = [each for each in told if each.name == "memgpt_unstored_turns_total"]
    return {each.labels["reason"]: each.value for each in counted}


@pytest.mark.parametrize(("table", "content"), [("nodes", "hi"), ("passages", BOOK)])
async def test_what_cannot_be_stored_is_answered(
    client: httpx.AsyncClient, tmp_path: Path, table: str, content: str
) -> None:
    refuse_inserts(tmp_path, table)
    answer = await ask(client, content)
    assert answer.status_code == 200
    assert answer.headers["x-memgpt-degraded"] == "true"
    assert answer.json()["choices"][0]["message"]["content"] == "Hello."
    assert await unstored(client) == {"full": 0, "refused": 1, "unavailable": 0, "late": 0}
    accept_inserts(tmp_path, table)
    again = await ask(client, content)
    assert again.status_code == 200
    assert "x-memgpt-degraded" not in again.headers
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        assert database.execute("SELECT count(*) FROM nodes WHERE text <> ''").fetchone() == (2,)


@pytest.mark.parametrize(("table", "content"), [("nodes", "hi"), ("passages", BOOK)])
async def test_what_cannot_be_stored_is_streamed(
    client: httpx.AsyncClient, tmp_path: Path, table: str, content: str
) -> None:
    refuse_inserts(tmp_path, table)
    answer = await ask(client, content, stream=True)
    assert answer.status_code == 200
    assert '"content":"Hello."' in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
