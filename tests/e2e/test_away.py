"""A store that goes away under a gateway on a real socket, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from memgpt_proxy import storage as storage_module
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.e2e.chatting import Person, offered, raw, send, user
from tests.e2e.in_process import served
from tests.e2e.prompts import recalled, remember, search
from tests.stores.switched import Switch
from tests.support.backend import ScriptedBackend
from tests.support.replies import call, error, text

DEADLINE = 15.0
SOON = (0.01, 0.05)


def until_ready(origin: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while httpx.get(f"{origin}/readyz").json()["status"] != "ok":
        assert time.monotonic() < deadline, "the store did not come back"


@dataclass(frozen=True, slots=True)
class Parted:
    """A gateway and its store, with what can part them."""

    origin: str
    switch: Switch


@pytest.fixture
def parted(
    backend: ScriptedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Parted]:
    embedded = SqliteStore(tmp_path / "store.db")
    switch = Switch(embedded, opens=True)
    journal = DiskJournal(tmp_path / "journal.db", 2**20)
    journaled = JournaledStore(switch.store, [journal], Telemetry(), probes=SOON)
    hot = HotStore(journaled, 2**20)
    monkeypatch.setattr(storage_module, "_stores", lambda *_: (embedded, hot))
    app = create_app(Settings(data_dir=tmp_path / "data"), backend.base_url)
    with served(app) as origin:
        yield Parted(origin, switch)


@pytest.fixture
def person(parted: Parted, api_key: str, model: str) -> Person:
    return Person(f"{parted.origin}/v1", api_key, model)


@pytest.fixture
def stranger(person: Person) -> Person:
    return Person(person.base_url, f"{person.api_key}x", person.model)


def find_it_away(backend: ScriptedBackend, stranger: Person) -> None:
    """Have somebody ask whose memory is in the store alone."""
    backend.reply(text("Who are you?"))
    stranger.say("Hello?")
    assert offered(backend.requests[-1]) == []


def test_what_is_said_meanwhile_is_found_later(
    backend: ScriptedBackend, parted: Parted, person: Person, stranger: Person
) -> None:
    backend.reply(send("A cat!"))
    person.say("My cat is Mia.")
    parted.switch.here = False

    backend.reply(
        call("archival_storage_insert", {"content": "Mia is four."}),
        call("recall_storage_search", {"query": "Mia"}),
        send("I have noted it."),
    )
    assert person.say("She is four.").text == "I have noted it."
    assert "external storage cannot be reached" in str(backend.requests[-1].body["messages"])
    backend.reply(text("Whose cat?"))
    asked = {"model": person.model, "messages": [user("Mia?")]}
    answer = raw(stranger.base_url, stranger.api_key, **asked)
    assert answer.headers["x-memgpt-degraded"] == "true"

    parted.switch.here = True
    until_ready(parted.origin)
    assert recalled(backend, person, "four") == ["She is four."]
    found = search(backend, person, "archival_storage_search", query="four")
    assert found == 'Showing 1 of 1 results (page 1/1): "Mia is four."'
    assert recalled(backend, stranger, "Mia") == ["Mia?"]
    backend.reply(send("Four."))
    asked["messages"] = [*person.said, user("So?")]
    answer = raw(person.base_url, person.api_key, **asked)
    assert "x-memgpt-degraded" not in answer.headers
    assert answer.json()["choices"][0]["message"]["content"] == "Four."


@pytest.mark.parametrize(
    ("kept", "said"),
    [(4, "And then?"), (2, "How old is she?"), (2, "How old is Mia?")],
    ids=["goes on", "regenerates", "edits"],
)
@pytest.mark.parametrize("edits", [False, True], ids=["alone", "edited elsewhere"])
def test_a_hot_conversation_keeps_its_memory_meanwhile(
    backend: ScriptedBackend,
    parted: Parted,
    person: Person,
    stranger: Person,
    kept: int,
    said: str,
    *,
    edits: bool,
) -> None:
    """What only the store knows of its past, what to undo and what has changed, has to wait."""
    backend.reply(remember("Cat: Mia"), send("Four."))
    person.say("My cat is Mia.")
    person.say("How old is she?")
    if edits:
        backend.reply(remember("Dog: Rex"))
        person.anew().say("My dog is Rex.")
    parted.switch.here = False
    find_it_away(backend, stranger)
    backend.reply(send("Five."))
    del person.said[kept:]
    person.say(said)
    assert "recall_storage_search" in offered(backend.requests[-1])
    assert "Cat: Mia" in str(backend.requests[-1].body["messages"])


def test_a_reply_that_is_not_replaced_meanwhile_keeps_its_notes(
    backend: ScriptedBackend, parted: Parted, person: Person, stranger: Person
) -> None:
    """It is to be regenerated, which the backend refuses: it stands, and so does its passage."""
    noted = call("archival_storage_insert", {"content": "Mia is four.", "request_heartbeat": True})
    backend.reply(send("Hi."), noted, send("Noted."))
    person.say("Hello.")
    person.say("Mia is four.")
    parted.switch.here = False
    find_it_away(backend, stranger)
    backend.reply(error(500))
    with pytest.raises(openai.InternalServerError):
        person.ask(person.said[:-1])
    parted.switch.here = True
    until_ready(parted.origin)
    found = search(backend, person, "archival_storage_search", query="Mia")
    assert found == 'Showing 1 of 1 results (page 1/1): "Mia is four."'
