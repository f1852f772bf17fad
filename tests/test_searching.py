"""Search by meaning, put together from settings: where it is asked for, and by which key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memgpt_proxy.backend.http1 import Http1Transport
from memgpt_proxy.config import Settings
from memgpt_proxy.searching import by_meaning
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, branch, record
from tests.support.embedding_server import EmbeddingServer

ELSEWHERE = "http://127.0.0.1:9/v1"
DEADLINE = 10.0


def test_without_a_model_the_store_stays_as_it_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "memory.db")
    made = by_meaning(
        Settings(data_dir=tmp_path),
        ELSEWHERE,
        Http1Transport(1),
        store,
        SqliteVectors(store),
        Telemetry(),
    )
    assert made is store


@pytest.mark.parametrize(
    ("at_the_backend", "named", "keys", "sent"),
    [
        (True, False, {}, None),
        (True, False, {"backend_api_key": "of-backend"}, "Bearer of-backend"),
        (True, True, {"backend_api_key": "of-backend"}, "Bearer of-backend"),
        (False, True, {"backend_api_key": "of-backend"}, None),
        (False, True, {"embedding_api_key": "its-own"}, "Bearer its-own"),
        (
            True,
            False,
            {"backend_api_key": "of-backend", "embedding_api_key": "its-own"},
            "Bearer its-own",
        ),
    ],
)
async def test_the_backends_key_goes_to_the_backend_alone(
    tmp_path: Path, at_the_backend: bool, named: bool, keys: dict[str, str], sent: str | None
) -> None:
    with EmbeddingServer() as server:
        url = {"embedding_url": f"{server.base_url}/"} if named else {}
        settings = Settings(data_dir=tmp_path, embedding_model="concepts", **url, **keys)  # type: ignore[arg-type]
        backend_url = server.base_url if at_the_backend else ELSEWHERE
        transport = Http1Transport(4)
        store = SqliteStore(tmp_path / "memory.db")
        made = by_meaning(
            settings, backend_url, transport, store, SqliteVectors(store), Telemetry()
        )
        await made.open()
        await made.commit(ALICE, record(*branch(["a kitten"])))
        async with asyncio.timeout(DEADLINE):
            await asyncio.to_thread(server.wait_until_embedded, "concepts", "a kitten")
        await made.close()
        await transport.aclose()
    assert set(server.keys) == {sent}
