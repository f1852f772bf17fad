"""A reply is regenerated while the store is away, in a conversation whose memory is hot."""

from __future__ import annotations
from pathlib import Path
import pytest
from memgpt_proxy import storage as storage_module
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.e2e.chatting import Person, send
from tests.e2e.in_process import served
from tests.e2e.prompts import remember, system
from tests.stores.switched import Switch
from tests.support.backend import ScriptedBackend


@pytest.mark.parametrize(
    "how", ["goes on", "regenerates", "edits", "other conversation has edited"]
)
def test_a_hot_conversation_keeps_its_memory_while_the_store_is_away(
    how: str,
    backend: ScriptedBackend,
    tmp_path: Path,
    api_key: str,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded = SqliteStore(tmp_path / "store.db")
    switch = Switch(embedded, opens=True)
    journal = DiskJournal(tmp_path / "journal.db", 2**20)
    journaled = JournaledStore(switch.store, [journal], Telemetry(), probes=(3600.0, 3600.0))
    hot = HotStore(journaled, 2**20)
    monkeypatch.setattr(storage_module, "_stores", lambda *_: (embedded, hot))
    app = create_app(Settings(data_dir=tmp_path / "data"), backend.base_url)
    with served(app) as origin:
        person = Person(f"{origin}/v1", api_key, model)
        backend.reply(remember("Cat: Mia"))
        person.say("My cat is Mia.")
        backend.reply(send("Four."))
        person.say("How old is she?")
        if how == "other conversation has edited":
            backend.reply(remember("Dog: Rex"))
            person.anew().say("My dog is Rex.")
        switch.here = False
        backend.reply(send("Away."))
        Person(f"{origin}/v1", api_key + "-other", model).say("Hello?")  # it is found to be away
        backend.reply(send("Five."))
        match how:
            case "regenerates":
                del person.said[-2:]
                person.say("How old is she?")
            case "edits":
                del person.said[-2:]
                person.say("How old is Mia?")
            case _:
                person.say("And then?")
        told = [each["function"]["name"] for each in (backend.requests[-1].body.get("tools") or [])]
    assert "recall_storage_search" in told


def test_a_reply_that_is_not_replaced_while_the_store_is_away_keeps_its_notes(
    backend: ScriptedBackend,
    tmp_path: Path,
    api_key: str,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Regenerating fails (the backend's 500), the old reply stands and is gone on from."""
    import asyncio, openai
    from tests.e2e.prompts import search
    from tests.support.replies import call, error

    embedded = SqliteStore(tmp_path / "store.db")
    switch = Switch(embedded, opens=True)
    journal = DiskJournal(tmp_path / "journal.db", 2**20)
    journaled = JournaledStore(switch.store, [journal], Telemetry(), probes=(0.2, 0.2))
    hot = HotStore(journaled, 2**20)
    monkeypatch.setattr(storage_module, "_stores", lambda *_: (embedded, hot))
    app = create_app(Settings(data_dir=tmp_path / "data"), backend.base_url)
    with served(app) as origin:
        person = Person(f"{origin}/v1", api_key, model)
        backend.reply(send("Hi."))
        person.say("Hello.")
        backend.reply(
            call("archival_storage_insert", {"content": "Mia is four.", "request_heartbeat": True}),
            send("Noted."),
        )
        person.say("Mia is four.")
        switch.here = False
        backend.reply(send("Away."))
        Person(f"{origin}/v1", api_key + "-other", model).say("Hello?")  # it is found to be away
        with pytest.raises(openai.APIStatusError):
            backend.reply(error(500, "boom"))
            person.ask(person.said[:-1])
        waits = []
        real = embedded.hide_passages

        async def hide(*a, **k):
            waits.append(a)
            return await real(*a, **k)

        embedded.hide_passages = hide
        print(
            "waiting",
            asyncio.run_coroutine_threadsafe(
                journal.waiting(), journaled._watching.get_loop()
            ).result(5),
        )
        switch.here = True
        import time, httpx

        for _ in range(100):
            if httpx.get(f"{origin}/readyz").json()["status"] == "ok":
                break
            time.sleep(0.1)
        found = search(backend, person, "archival_storage_search", query="Mia")
    print("hidden", waits)
    assert found.startswith("Showing 1 of 1"), found
