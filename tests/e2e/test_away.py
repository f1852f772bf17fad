"""A store that goes away under a gateway on a real socket, and comes back."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from memgpt_proxy import storage as storage_module
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.e2e.chatting import Person, raw, send, user
from tests.e2e.in_process import served
from tests.e2e.prompts import recalled, search
from tests.stores.switched import Switch
from tests.support.backend import ScriptedBackend
from tests.support.replies import call, text

DEADLINE = 15.0
SOON = (0.01, 0.05)


def until_ready(origin: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while httpx.get(f"{origin}/readyz").json()["status"] != "ok":
        assert time.monotonic() < deadline, "the store did not come back"


def test_what_is_said_meanwhile_is_found_later(
    backend: ScriptedBackend,
    tmp_path: Path,
    api_key: str,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded = SqliteStore(tmp_path / "store.db")
    switch = Switch(embedded, opens=True)
    journal = DiskJournal(tmp_path / "journal.db", 2**20)
    journaled = JournaledStore(switch.store, [journal], Telemetry(), probes=SOON)
    hot = HotStore(journaled, 2**20)
    monkeypatch.setattr(storage_module, "_stores", lambda *_: (embedded, hot))
    app = create_app(Settings(data_dir=tmp_path / "data"), backend.base_url)
    with served(app) as origin:
        person = Person(f"{origin}/v1", api_key, model)
        stranger = Person(f"{origin}/v1", f"{api_key}x", model)
        backend.reply(send("A cat!"))
        person.say("My cat is Mia.")
        switch.here = False

        backend.reply(
            call("archival_storage_insert", {"content": "Mia is four."}),
            call("recall_storage_search", {"query": "Mia"}),
            send("I have noted it."),
        )
        assert person.say("She is four.").text == "I have noted it."
        assert "external storage cannot be reached" in str(backend.requests[-1].body["messages"])
        backend.reply(text("Whose cat?"))
        answer = raw(stranger.base_url, stranger.api_key, model=model, messages=[user("Mia?")])
        assert answer.headers["x-memgpt-degraded"] == "true"

        switch.here = True
        until_ready(origin)
        assert recalled(backend, person, "four") == ["She is four."]
        found = search(backend, person, "archival_storage_search", query="four")
        assert found == 'Showing 1 of 1 results (page 1/1): "Mia is four."'
        assert recalled(backend, stranger, "Mia") == ["Mia?"]
        backend.reply(send("Four."))
        answer = raw(person.base_url, api_key, model=model, messages=[*person.said, user("So?")])
        assert "x-memgpt-degraded" not in answer.headers
        assert answer.json()["choices"][0]["message"]["content"] == "Four."
