"""``DELETE /memgpt/memory``: what the owner of a key has erased is gone, whatever is under way."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from memgpt_proxy import storage as storage_module
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.records import Holdings, Owner
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, error_of, offered, results, send
from tests.e2e.in_process import served
from tests.e2e.prompts import contents, recalled, remember, search, system
from tests.e2e.test_owner import get, headers, listening
from tests.stores.switched import Switch
from tests.support.backend import ScriptedBackend
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.gateway import GatewayProcess
from tests.support.redis_server import RedisServer
from tests.support.replies import Gate, call, wait

NOTHING = {
    "messages": 0,
    "queue_states": 0,
    "conversations": 0,
    "passages": 0,
    "working_contexts": 0,
    "traces": 0,
    "vectors": 0,
}

NOTHING_NOTED = {"version": 0, "content": "", "limit": 8000}


def erase(origin: str, key: str, **query: str) -> httpx.Response:
    url = f"{origin}/memgpt/memory"
    return httpx.request("DELETE", url, params=query, headers=headers(key), timeout=60)


def erased(gateway: GatewayProcess, key: str, **query: str) -> dict[str, Any]:
    answer = erase(gateway.origin, key, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()["erased"]


def live(backend: ScriptedBackend, person: Person, **options: Any) -> None:
    """Leave something behind in all parts of memory."""
    backend.reply(
        call("working_context_append", {"content": "Cat: Mia", "request_heartbeat": True}),
        call("archival_storage_insert", {"content": "Mia is four.", "request_heartbeat": True}),
        send("A cat!"),
    )
    person.say("My cat is Mia.", **options)


def test_nothing_is_left(backend: ScriptedBackend, gateway: GatewayProcess, person: Person) -> None:
    live(backend, person)
    counts = erased(gateway, person.api_key)
    assert counts == {
        **NOTHING,
        "messages": 2,
        "queue_states": 1,
        "passages": 1,
        "working_contexts": 1,
        # A trace is written a moment after its turn.
        "traces": counts["traces"],
    }
    assert get(gateway, "working-context", person.api_key).json() == {
        "version": 0,
        "content": "",
        "limit": 8000,
    }
    assert get(gateway, "traces", person.api_key).json()["data"] == []
    found = search(backend, person, "archival_storage_search", query="Mia")
    assert found.startswith("Showing 0 of 0 results")
    assert "Mia" not in system(backend.requests[-1])
    assert erased(gateway, person.api_key)["messages"] == 2  # of the search itself
    assert erased(gateway, person.api_key) == NOTHING


def test_a_history_that_comes_again_begins_anew(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    live(backend, person)
    erased(gateway, person.api_key)
    backend.reply(send("Four?"))
    person.say("How old is she?")
    assert "Cat: Mia" not in system(backend.requests[-1])
    said = [text for text in contents(backend.requests[-1]) if not text.startswith("System Alert")]
    assert said == ["My cat is Mia.", "A cat!", "How old is she?"]
    assert recalled(backend, person, "cat") == ["A cat!", "My cat is Mia."]


def test_users_of_a_key_are_apart(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    live(backend, person)
    live(backend, person.anew(), user="ann")
    assert erased(gateway, person.api_key, user="ann")["messages"] == 2
    assert get(gateway, "working-context", person.api_key).json()["content"] == "Cat: Mia"
    assert erased(gateway, person.api_key, user="bob") == NOTHING
    assert erased(gateway, person.api_key)["messages"] == 2


def test_a_key_is_erased_with_all_of_its_users(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    """Whoever they are: who spoke, who was written a note, who was imported."""
    live(backend, person)
    other = Person(gateway.base_url, f"{person.api_key}-other", person.model)
    for each, user in ((person, "ann"), (person, "bob"), (other, "ann")):
        live(backend, each.anew(), user=user)
    note = {"content": "Of Cleo"}
    url = f"{gateway.origin}/memgpt/archival-storage"
    httpx.post(url, params={"user": "cleo"}, json=note, headers=headers(person.api_key))
    exported = get(gateway, "export", other.api_key, user="ann").content
    url = f"{gateway.origin}/memgpt/import"
    known = {"params": {"user": "dan"}, "headers": headers(person.api_key)}
    assert httpx.post(url, content=exported, **known).status_code == 200  # type: ignore[arg-type]
    answer = erase(gateway.origin, person.api_key, users="all").json()
    assert answer["users"] == 4
    assert answer["erased"]["messages"] == 2 * 4
    assert answer["erased"]["passages"] == 5
    assert erased(gateway, person.api_key) == NOTHING
    for user in ("ann", "bob", "cleo", "dan"):
        assert erased(gateway, person.api_key, user=user) == NOTHING
    assert erased(gateway, other.api_key, user="ann")["messages"] == 2
    again = erase(gateway.origin, person.api_key, users="all").json()
    assert again == {"erased": NOTHING, "users": 0}
    live(backend, person.anew(), user="ann")
    assert erase(gateway.origin, person.api_key, users="all").json()["users"] == 1


def test_who_only_reads_is_not_written_down(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    backend.reply(send("Hi."))
    person.say("hello", user="ann", extra_headers={"X-MemGPT-Memory": "read"})
    get(gateway, "recall-storage", person.api_key, user="ann")
    assert erase(gateway.origin, person.api_key, users="all").json()["users"] == 0


@pytest.mark.parametrize("query", [{"users": "ann"}, {"users": "all", "user": "ann"}])
def test_what_is_not_clearly_all_erases_nothing(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, query: dict[str, str]
) -> None:
    live(backend, person, user="ann")
    refused = erase(gateway.origin, person.api_key, **query)
    assert (refused.status_code, error_of(refused)["param"]) == (400, "users")
    assert erased(gateway, person.api_key, user="ann")["messages"] == 2


def test_a_turn_under_way_brings_nothing_back(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    """It answers, its functions are refused, and nothing of it is stored."""
    live(backend, person)
    gate = Gate()
    insert = call("archival_storage_insert", {"content": "Mia", "request_heartbeat": True})
    backend.reply(
        call("recall_storage_search", {"query": "Mia"}), wait(gate) + insert, send("I know Mia.")
    )
    with ThreadPoolExecutor(1) as elsewhere, listening(gateway, person.api_key) as ear:
        asked = elsewhere.submit(person.say, "Who is it?")
        assert ear.until("function_called")
        before = erased(gateway, person.api_key)
        gate.open()
        assert asked.result(10).text == "I know Mia."
        assert "memory_erased" in [kind for kind, _ in ear.until("turn_ended")]
    assert before["passages"] == 1
    assert "memory was erased" in results(backend.requests[-1])[0]
    assert erased(gateway, person.api_key) == NOTHING


def test_a_turn_that_begins_meanwhile_brings_nothing_back(
    backend: ScriptedBackend,
    tmp_path: Path,
    api_key: str,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    holdings = SqliteStore.holdings

    async def held_up(self: SqliteStore, owner: Owner) -> Holdings:
        """The first that is asked when a memory is erased."""
        begun.set()
        assert await asyncio.to_thread(go_on.wait, 10)
        return await holdings(self, owner)

    app = create_app(Settings(data_dir=tmp_path / "data"), backend.base_url)
    with served(app) as origin, ThreadPoolExecutor(2) as elsewhere:
        person, gate = Person(f"{origin}/v1", api_key, model), Gate()
        live(backend, person)
        monkeypatch.setattr(SqliteStore, "holdings", held_up)
        erasing = elsewhere.submit(erase, origin, api_key)
        assert begun.wait(10)
        backend.reply(wait(gate) + send("Hello!"))
        other = person.anew()
        asked = elsewhere.submit(other.say, "Good morning.")
        asked_with = backend.wait_for_requests(4)[-1]
        go_on.set()
        assert erasing.result(20).status_code == 200
        gate.open()
        assert asked.result(10).text == "Hello!"
        assert "Cat: Mia" in system(asked_with), "it has read what is being erased"
        left = httpx.get(f"{origin}/memgpt/export", headers=headers(api_key)).text
        backend.reply(send("Fine."))
        other.say("How are you?")
    assert "Mia" not in left
    assert "Cat: Mia" not in system(backend.requests[-1])


def test_there_is_nothing_without_a_key(gateway: GatewayProcess) -> None:
    answer = httpx.delete(f"{gateway.origin}/memgpt/memory")
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


def test_who_is_named_in_a_body_is_not_passed_over(
    backend: ScriptedBackend, person: Person, gateway: GatewayProcess
) -> None:
    """It is where requests name a user; the key's own memory would be erased instead."""
    live(backend, person)
    url, body = f"{gateway.origin}/memgpt/memory", {"user": "bob"}
    answer = httpx.request("DELETE", url, json=body, headers=headers(person.api_key))
    assert answer.status_code == 400
    assert "Nothing was erased" in error_of(answer)["message"]
    assert erased(gateway, person.api_key)["messages"] == 2


def test_it_is_only_erased_by_delete(gateway: GatewayProcess, api_key: str) -> None:
    answer = get(gateway, "memory", api_key)
    assert answer.status_code == 405
    assert error_of(answer)["type"] == "invalid_request_error"


def test_while_the_store_is_away_nothing_is_erased(
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
        switch.here = False
        first, second = erase(origin, api_key), erase(origin, api_key)
        for answer in (first, second):
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert error_of(answer)["code"] == "memory_not_erased"
        assert "Not all" in error_of(first)["message"]  # it was just found to be away
        assert "nothing was erased" in error_of(second)["message"]


@pytest.fixture
def replicas(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    elasticsearch: ElasticsearchNode,
    api_key: str,
) -> tuple[GatewayProcess, GatewayProcess]:
    fleet = {
        "MEMGPT_NAMESPACE_SECRET": "a secret of the whole fleet",
        "MEMGPT_ELASTICSEARCH_URL": elasticsearch.url,
        "MEMGPT_ELASTICSEARCH_PREFIX": f"erasing_{api_key[-8:]}",
        "MEMGPT_REDIS_URL": redis_server.url,
    }
    return start_gateway(env=fleet), start_gateway(env=fleet)


@pytest.mark.redis
@pytest.mark.elasticsearch
def test_all_replicas_forget(
    backend: ScriptedBackend,
    replicas: tuple[GatewayProcess, GatewayProcess],
    api_key: str,
    model: str,
) -> None:
    here, there = replicas
    person = Person(here.base_url, api_key, model)
    live(backend, person)
    person.base_url = there.base_url
    backend.reply(send("Four."))
    person.anew().say("How old is she?")
    assert "Cat: Mia" in system(backend.requests[-1])
    counts = erased(here, api_key)
    assert (counts["messages"], counts["passages"], counts["working_contexts"]) == (4, 1, 1)
    assert get(there, "working-context", api_key).json() == {
        "version": 0,
        "content": "",
        "limit": 8000,
    }
    backend.reply(send("Who?"))
    person.anew().say("How old is she?")
    assert "Cat: Mia" not in system(backend.requests[-1])
    assert erased(there, api_key)["messages"] == 2
    assert "Mia" not in here.log() + there.log()


@pytest.mark.redis
@pytest.mark.elasticsearch
def test_a_turn_that_ends_after_an_erasure_elsewhere_keeps_no_conversation_from_its_memory(
    backend: ScriptedBackend,
    replicas: tuple[GatewayProcess, GatewayProcess],
    api_key: str,
    model: str,
) -> None:
    """Its message has seen a version of the working context that is there no more."""
    here, there = replicas
    person, gate = Person(there.base_url, api_key, model), Gate()
    live(backend, person)
    backend.reply(wait(gate) + send("Yes."))
    with ThreadPoolExecutor(1) as elsewhere:
        asked = elsewhere.submit(person.say, "Are you there?")
        backend.wait_for_requests(4)
        assert erased(here, api_key)["messages"] == 2
        gate.open()
        assert asked.result(10).text == "Yes."
    backend.reply(send("Fine."))
    person.say("How are you?")
    assert "recall_storage_search" in offered(backend.requests[-1])


@pytest.mark.redis
@pytest.mark.elasticsearch
def test_a_user_who_goes_on_after_an_erasure_elsewhere_is_erased_by_the_next(
    backend: ScriptedBackend,
    replicas: tuple[GatewayProcess, GatewayProcess],
    api_key: str,
    model: str,
) -> None:
    """Their replica has written them down not long ago, in a register that is gone."""
    here, there = replicas
    person = Person(there.base_url, api_key, model)
    backend.script(lambda _: send("Yes."))
    for messages in (2, 4):
        person.say("Are you there?", user="ann")
        answer = erase(here.origin, api_key, users="all").json()
        assert (answer["users"], answer["erased"]["messages"]) == (1, messages)
    assert erase(here.origin, api_key, users="all").json()["users"] == 0
