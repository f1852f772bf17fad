"""A turn that begins while its memory is being erased."""

from __future__ import annotations
import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import httpx
import pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.sqlite import SqliteStore, store as sqlite_store
from tests.e2e.chatting import Person, send
from tests.e2e.in_process import served
from tests.e2e.prompts import system
from tests.e2e.test_erasing import erase, live
from tests.e2e.test_owner import headers
from tests.support.backend import ScriptedBackend
from tests.support.replies import Gate, call, wait


def test_a_turn_that_begins_amid_an_erasure_brings_nothing_back(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str, monkeypatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    holdings = SqliteStore.holdings

    async def slowly(self, owner):  # the first that is asked when a memory is erased
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return await holdings(self, owner)

    app = create_app(Settings(data_dir=tmp_path / "data"), backend.base_url)
    with served(app) as origin, ThreadPoolExecutor(2) as elsewhere:
        person = Person(f"{origin}/v1", api_key, model)
        live(backend, person)
        monkeypatch.setattr(SqliteStore, "holdings", slowly)
        deleting = elsewhere.submit(erase, origin, api_key)
        assert begun.wait(10)
        gate = Gate()
        backend.reply(wait(gate) + send("Hello!"))
        other = person.anew()
        asked = elsewhere.submit(other.say, "Good morning.")
        import time

        time.sleep(0.5)
        go_on.set()
        told = deleting.result(20)
        assert told.status_code == 200, told.text
        gate.open()
        asked.result(10)
        left = httpx.get(f"{origin}/memgpt/export", headers=headers(api_key)).text
        backend.reply(send("Fine."))
        other.say("How are you?")
        prompt = system(backend.requests[-1])
    print(told.text, left, sep="\n")
    assert "Mia" not in left
    assert "Mia" not in prompt
