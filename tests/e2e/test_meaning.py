"""Search by meaning through the gateway, with a real embedding model behind a real server."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import httpx
import pytest

from tests.conftest import StartGateway, missing_part
from tests.e2e.chatting import Person, send
from tests.e2e.prompts import search
from tests.support.backend import ScriptedBackend
from tests.support.embedding_server import EmbeddingServer
from tests.support.minilm import MiniLM, is_installed
from tests.support.replies import call
from tests.support.scrape import samples

DEADLINE = 30.0

SAID = (
    "My cat sleeps on the sofa all day.",
    "I drive to work in a red Toyota.",
    "On Fridays we cook pasta with my grandmother.",
)


@pytest.fixture(scope="session")
def minilm() -> MiniLM:
    if not is_installed():
        missing_part("no embedding model: run scripts/test, which installs it")
    return MiniLM()


@pytest.fixture
def server(minilm: MiniLM) -> Iterator[EmbeddingServer]:
    with EmbeddingServer(minilm) as started:
        yield started


def options(server: EmbeddingServer, model: str = "minilm") -> list[str]:
    return ["--embedding-model", model, "--embedding-url", server.base_url]


def found_once_embedded(
    backend: ScriptedBackend,
    person: Person,
    query: str,
    wanted: str,
    function: str = "recall_storage_search",
) -> str:
    """Search until it is found: vectors are stored some time after they have come."""
    end = monotonic() + DEADLINE
    while monotonic() < end:
        result = search(backend, person, function, query=query)
        if wanted in result:
            return result
    raise AssertionError(f"{wanted!r} is not found by {query!r}")


def metric(person: Person, name: str, **labels: str) -> float:
    told = samples(httpx.get(f"{person.base_url.removesuffix('/v1')}/metrics").text)
    [value] = [each.value for each in told if (each.name, each.labels) == (name, labels)]
    return value


def searches(person: Person) -> float:
    """How often vectors were searched, by the store's own measure."""
    told = samples(httpx.get(f"{person.base_url.removesuffix('/v1')}/metrics").text)
    name = "db_client_operation_duration_seconds_count"
    found = [s for s in told if s.name == name and s.labels["db_operation_name"] == "nearest"]
    assert all(each.labels["db_system_name"] == "sqlite" for each in found)
    return sum(each.value for each in found)


def tell(backend: ScriptedBackend, person: Person) -> None:
    backend.reply(*(send("I see.") for _ in SAID))
    for text in SAID:
        person.say(text)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("feline", SAID[0]), ("automobile", SAID[1]), ("italian food", SAID[2])],
)
def test_meaning_is_found_where_words_differ(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    server: EmbeddingServer,
    api_key: str,
    model: str,
    query: str,
    wanted: str,
) -> None:
    gateway = start_gateway(*options(server))
    person = Person(gateway.base_url, api_key, model)
    tell(backend, person)
    server.wait_until_embedded("minilm", *SAID)
    result = found_once_embedded(backend, person, query, wanted)
    others = [text for text in SAID if text != wanted and text in result]
    assert all(result.index(wanted) < result.index(other) for other in others)
    stranger = Person(gateway.base_url, f"{api_key}x", model)
    assert wanted not in search(backend, stranger, "recall_storage_search", query=query)


def test_passages_are_found_by_meaning(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    server: EmbeddingServer,
    api_key: str,
    model: str,
) -> None:
    person = Person(start_gateway(*options(server)).base_url, api_key, model)
    assert searches(person) == 0
    note = "The user's dog is called Rex."
    backend.reply(call("archival_storage_insert", {"content": note}), send("Noted."))
    person.say("My dog is Rex.")
    server.wait_until_embedded("minilm", note)
    function = "archival_storage_search"
    found_once_embedded(backend, person, "name of the user's pet", note, function)
    assert searches(person) >= 1


def test_a_server_that_is_away_costs_no_turn_and_is_waited_for(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    server: EmbeddingServer,
    api_key: str,
    model: str,
) -> None:
    server.stop()
    person = Person(start_gateway(*options(server)).base_url, api_key, model)
    tell(backend, person)
    result = search(backend, person, "recall_storage_search", query="cat")
    assert SAID[0] in result
    assert metric(person, "memgpt_searches_by_words_total") == 1
    assert metric(person, "memgpt_queue_length", queue="embedding") >= len(SAID)
    server.start()
    server.wait_until_embedded("minilm", *SAID)
    found_once_embedded(backend, person, "feline", SAID[0])
    assert metric(person, "memgpt_embedded_texts_total") >= len(SAID)


def test_a_server_that_hangs_holds_up_no_turn(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    server: EmbeddingServer,
    api_key: str,
    model: str,
) -> None:
    server.held.clear()
    person = Person(start_gateway(*options(server)).base_url, api_key, model)
    tell(backend, person)
    assert SAID[0] in search(backend, person, "recall_storage_search", query="cat")
    server.held.set()
    server.wait_until_embedded("minilm", *SAID)
    found_once_embedded(backend, person, "feline", SAID[0])


def test_another_model_embeds_all_anew(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    server: EmbeddingServer,
    api_key: str,
    model: str,
) -> None:
    gateway = start_gateway(*options(server))
    person = Person(gateway.base_url, api_key, model)
    tell(backend, person)
    server.wait_until_embedded("minilm", *SAID)
    found_once_embedded(backend, person, "feline", SAID[0])
    gateway.stop()
    data = ["--data-dir", str(gateway.data_dir)]
    again = start_gateway(*options(server, "another"), *data)
    server.wait_until_embedded("another", *SAID)
    found_once_embedded(backend, Person(again.base_url, api_key, model), "feline", SAID[0])
