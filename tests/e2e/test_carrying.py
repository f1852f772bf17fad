"""``GET /memgpt/export`` and ``POST /memgpt/import``: a memory goes from one key to another."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, error_of, offered, send, user
from tests.e2e.prompts import contents, recalled, search
from tests.e2e.test_erasing import NOTHING, erased, live
from tests.e2e.test_owner import get, headers
from tests.support.backend import ScriptedBackend
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.gateway import GatewayProcess


def export(gateway: GatewayProcess, key: str, **query: str) -> bytes:
    answer = get(gateway, "export", key, **query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    return answer.content


def take_in(gateway: GatewayProcess, key: str, lines: bytes, **query: str) -> httpx.Response:
    url = f"{gateway.origin}/memgpt/import"
    return httpx.post(url, params=query, headers=headers(key), content=lines, timeout=60)


def imported(gateway: GatewayProcess, key: str, lines: bytes, **query: str) -> dict[str, Any]:
    answer = take_in(gateway, key, lines, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()["imported"]


@pytest.fixture(params=["sqlite", pytest.param("fleet", marks=pytest.mark.elasticsearch)])
def store_gateway(
    request: pytest.FixtureRequest, start_gateway: StartGateway, api_key: str
) -> GatewayProcess:
    """A gateway over each family of stores."""
    if request.param == "sqlite":
        return start_gateway()
    node: ElasticsearchNode = request.getfixturevalue("elasticsearch")
    env = {
        "MEMGPT_NAMESPACE_SECRET": "a secret of the whole fleet",
        "MEMGPT_ELASTICSEARCH_URL": node.url,
        "MEMGPT_ELASTICSEARCH_PREFIX": f"carrying_{api_key[-8:]}",
    }
    return start_gateway(env=env)


def test_another_key_goes_on_with_it(
    backend: ScriptedBackend, store_gateway: GatewayProcess, api_key: str, model: str
) -> None:
    gateway = store_gateway
    person = Person(gateway.base_url, api_key, model)
    live(backend, person)
    backend.reply(send("Four."))
    person.say("How old is she?")
    person.said[-1]["content"] = "  Four.  "  # as a client may write it
    lines = export(gateway, api_key)
    kinds = [next(iter(json.loads(line))) for line in lines.splitlines()]
    assert kinds[0] == "format"
    assert kinds[-1] == "end"
    assert json.loads(lines.splitlines()[-1])["end"]["message"] == kinds.count("message") == 4
    assert kinds.count("trace") == 2

    other = Person(gateway.base_url, f"{api_key}-other", model, said=[*person.said])
    counts = imported(gateway, other.api_key, lines)
    assert counts == {"message": 4, "queue_state": 1, "passage": 1, "working_context": 1}
    assert imported(gateway, other.api_key, lines) == counts
    here, there = (get(gateway, "working-context", key).json() for key in (api_key, other.api_key))
    assert here == there == {"version": 1, "content": "Cat: Mia", "limit": 8000}

    backend.reply(send("At the vet."))
    other.say("Where is she?")
    prompt = backend.requests[-1]
    said = [each for each in contents(prompt) if each and not each.startswith("System Alert")]
    assert "Appended." in " ".join(said), "what the model did is put back in its place"
    assert said[-1] == "Where is she?"
    assert recalled(backend, other, "old") == ["How old is she?"]
    erasing = erased(gateway, other.api_key)
    assert erasing["messages"] == 4 + 2 + 2, "nothing is stored twice"
    assert erased(gateway, api_key)["messages"] == 4


def test_a_key_is_replaced_and_its_memory_taken_along(
    start_gateway: StartGateway, backend: ScriptedBackend
) -> None:
    """As docs/operations.md tells of keys: both are accepted, then the new one alone."""
    env = {"MEMGPT_BACKEND_API_KEY": "of-the-backend"}
    gateway = start_gateway(env={**env, "MEMGPT_ACCEPTED_KEYS": "old,new"})
    backend.reply(send("Yes."))
    Person(gateway.base_url, "old", "m").ask([user("The parrot is called Flint.")])
    imported(gateway, "new", export(gateway, "old"))
    gateway.stop()

    later = start_gateway(
        *("--data-dir", str(gateway.data_dir)), env={**env, "MEMGPT_ACCEPTED_KEYS": "new"}
    )
    refused = get(later, "export", "old")
    assert (refused.status_code, error_of(refused)["code"]) == (401, "invalid_api_key")
    assert b"Flint" in export(later, "new")


def test_it_comes_back_where_it_was(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    live(backend, person)
    lines = export(gateway, person.api_key)
    erased(gateway, person.api_key)
    imported(gateway, person.api_key, lines)
    again = export(gateway, person.api_key)
    assert sorted(of_memory(again)) == sorted(of_memory(lines))
    found = search(backend, person, "archival_storage_search", query="Mia")
    assert found == 'Showing 1 of 1 results (page 1/1): "Mia is four."'


def test_one_that_lacks_a_version_of_the_working_context_is_gone_on_with(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    """As releases wrote it while a turn edited it: a message has seen what came too late."""
    live(backend, person)
    lines = export(gateway, person.api_key)
    later = lines.replace(b'"context_version":1', b'"context_version":2')
    assert later != lines
    other = Person(gateway.base_url, f"{person.api_key}-other", person.model, said=person.said)
    imported(gateway, other.api_key, later)
    backend.reply(send("Four."))
    other.say("How old is she?")
    assert "recall_storage_search" in offered(backend.requests[-1])
    assert recalled(backend, other, "old") == ["How old is she?"]


def of_memory(lines: bytes) -> list[bytes]:
    """The lines of records that an import takes."""
    first_and_last = (b'{"format"', b'{"end"', b'{"trace"')
    return [line for line in lines.splitlines() if not line.startswith(first_and_last)]


def test_a_memory_of_its_own_is_not_mixed_with_another(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    live(backend, person)
    lines = export(gateway, person.api_key)
    backend.reply(send("Hello."))
    Person(gateway.base_url, person.api_key, person.model).ask([user("Hi")], user="ann")
    before = export(gateway, person.api_key, user="ann")
    answer = take_in(gateway, person.api_key, lines, user="ann")
    assert answer.status_code == 409
    assert error_of(answer)["code"] == "memory_not_empty"
    assert of_memory(export(gateway, person.api_key, user="ann")) == of_memory(before)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda lines: b"", "not the first line"),
        (lambda lines: b"{}", "not the first line"),
        (lambda lines: b"\xff", "not the first line"),
        (
            lambda lines: lines.replace(b'"version":1,"owner', b'"version":2,"owner'),
            "not of version 1",
        ),
        (lambda lines: lines[: lines.rindex(b'{"end"')], "last line is missing"),
        (lambda lines: lines.replace(b"\n", b""), "--data-binary"),  # as curl's -d sends it
        (lambda lines: lines[: len(lines) // 2], "not"),
        (lambda lines: lines + b'{"passage":{}}\n', "goes on behind"),
        (lambda lines: lines.replace(b'"message":2', b'"message":3'), "last line counts"),
        (lambda lines: lines.replace(b'"depth":0', b'"depth":"x"'), "not a message"),
        (lambda lines: lines.replace(b'"depth":0', b'"depth":9e99'), "not a message"),
        (lambda lines: lines.replace(b'"depth":0', b'"depth":%d' % (2**60,)), "cannot be stored"),
        (lambda lines: lines.replace(b"Mia is four.", b"\\u0000"), "cannot be stored"),
        (lambda lines: lines.replace(b'{"passage"', b'{"note"'), "not known"),
        (lambda lines: lines.replace(b'"entries":"[', b'"entries":"[1,'), "no messages"),
        (lambda lines: lines.replace(b'"tokens":', b'"tokens":-'), "cannot be stored"),
        (lambda lines: lines.replace(b'"start":0', b'"start":9'), "begins behind its message"),
        (lambda lines: lines.replace(b'"depth":0', b'"depth":9'), "hangs on itself, or a later"),
        (
            lambda lines: lines.replace(b'\\"content\\":\\"My cat is Mia.\\"', b'\\"content\\":5'),
            "no messages",
        ),
    ],
)
def test_what_is_no_export_is_refused_whole(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, spoil: Any, told: str
) -> None:
    live(backend, person)
    lines = spoil(export(gateway, person.api_key))
    answer = take_in(gateway, person.api_key, lines, user="new")
    assert answer.status_code == 400
    assert told in error_of(answer)["message"]
    assert "Mia" not in answer.text
    assert erased(gateway, person.api_key, user="new") == NOTHING


def test_one_that_is_too_large_is_refused(start_gateway: StartGateway, api_key: str) -> None:
    gateway = start_gateway("--max-request-mib", "1")
    answer = take_in(gateway, api_key, b" " * (2**20 + 1))
    assert answer.status_code == 413
    assert "memgpt-proxy import" in error_of(answer)["message"]


def test_a_response_is_gone_on_from_by_its_name(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str
) -> None:
    def respond(key: str, **request: Any) -> dict[str, Any]:
        url = f"{gateway.base_url}/responses"
        answer = httpx.post(url, headers=headers(key), json={"model": model, **request}, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    backend.reply(send("A cat!"), send("Four."))
    first = respond(api_key, input="My cat is Mia.")
    second = respond(api_key, input="How old?", previous_response_id=first["id"])
    other = f"{api_key}-other"
    imported(gateway, other, export(gateway, api_key))
    backend.reply(send("At the vet."))
    respond(other, input="Where is she?", previous_response_id=second["id"])
    users = [each for each in backend.requests[-1].body["messages"] if each["role"] == "user"]
    said = [each["content"] for each in users if "System Alert" not in each["content"]]
    assert said == ["My cat is Mia.", "How old?", "Where is she?"]
    assert erased(gateway, other)["messages"] == 6


@pytest.mark.parametrize(("method", "path"), [("GET", "export"), ("POST", "import")])
def test_there_is_nothing_without_a_key(gateway: GatewayProcess, method: str, path: str) -> None:
    answer = httpx.request(method, f"{gateway.origin}/memgpt/{path}")
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"
