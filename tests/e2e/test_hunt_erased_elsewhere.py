"""A turn at one replica, whose memory another one erases: its conversation goes on afterwards."""

from __future__ import annotations
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest
from memgpt_proxy import storage as storage_module
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.redis import RedisLog, connect
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.e2e.chatting import Person, send
from tests.e2e.in_process import served
from tests.e2e.prompts import system, remember
from tests.e2e.test_erasing import erase, live
from tests.support.backend import ScriptedBackend
from tests.support.redis_server import RedisServer
from tests.support.replies import Gate, wait


@pytest.mark.redis
def test_a_conversation_whose_turn_ended_after_an_erasure_elsewhere_has_memory(
    backend: ScriptedBackend,
    tmp_path: Path,
    api_key: str,
    model: str,
    monkeypatch,
    redis_server: RedisServer,
    caplog,
) -> None:
    def stores(*_):
        kept = SqliteStore(tmp_path / "shared.db")
        return kept, HotStore(kept, 2**20, RedisLog(connect(redis_server.url)))

    monkeypatch.setattr(storage_module, "_stores", stores)

    def app(name):
        return create_app(
            Settings(data_dir=tmp_path / name, namespace_secret="of the whole fleet"),
            backend.base_url,
        )

    with (
        served(app("here")) as here,
        served(app("there")) as there,
        ThreadPoolExecutor(1) as elsewhere,
    ):
        person = Person(f"{there}/v1", api_key, model)
        live(backend, person)
        gate = Gate()
        backend.reply(wait(gate) + send("Yes."))
        asked = elsewhere.submit(person.say, "Are you there?")
        time.sleep(0.5)
        assert erase(here, api_key).status_code == 200
        gate.open()
        asked.result(10)
        for n in range(3):
            caplog.clear()
            backend.reply(send("Fine."))
            answer = person.say(f"How are you {n}?")
            told = [
                each["function"]["name"] for each in (backend.requests[-1].body.get("tools") or [])
            ]
            print(n, told, [r.getMessage() for r in caplog.records])
    assert "recall_storage_search" in told
