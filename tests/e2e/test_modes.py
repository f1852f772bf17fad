"""Requests that memory is kept out of: tasks of user interfaces, and ``X-MemGPT-Memory: off``."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, error_of, from_chunks, from_completion, send, user
from tests.e2e.prompts import contents, recalled, search
from tests.support.backend import ECHO_WHEN_EMPTY, ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import error, hang, text

OFF = {"X-MemGPT-Memory": "off"}
TASK = {"X-OpenWebUI-Task": "title_generation"}
SECRET = "quokka"
TITLE = [
    user(
        "### Task:\nGenerate a concise title summarizing the chat history.\n### Chat History:\n"
        f"<chat_history>\nUSER: I saw a {SECRET} today.\nASSISTANT: Lovely!\n</chat_history>"
    )
]
PLAIN = [user(f"I saw a {SECRET} today.")]
APART: dict[str, dict[str, Any]] = {
    "prompt": {"messages": TITLE},
    "header": {"messages": PLAIN, "extra_headers": TASK},
    "off": {"messages": PLAIN, "extra_headers": OFF},
}


@pytest.fixture
def alone(start_gateway: StartGateway, api_key: str, model: str) -> tuple[GatewayProcess, Person]:
    """A gateway with nothing in its data directory, and the only person who uses it."""
    gateway = start_gateway()
    return gateway, Person(gateway.base_url, api_key, model)


def stored(gateway: GatewayProcess) -> bytes:
    """What is in the data directory: the database, its log, the secret; not SQLite's locks."""
    files = [path for path in sorted(gateway.data_dir.rglob("*")) if path.is_file()]
    return b"".join(path.read_bytes() for path in files if not path.name.endswith("-shm"))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("request_", APART.values(), ids=[*APART])
def test_the_backend_gets_the_clients_own_bytes(
    backend: ScriptedBackend, person: Person, request_: dict[str, Any], stream: bool
):
    backend.reply(text("A marsupial"))
    with openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client:
        response: Any = client.chat.completions.with_raw_response.create(
            model=person.model, stream=stream, **request_
        )
        answer = response.parse()
        said = from_chunks(answer) if stream else from_completion(answer)
    assert said.text == "A marsupial"
    (arrived,) = backend.requests
    assert arrived.raw == response.http_request.content
    assert arrived.headers["authorization"] == f"Bearer {person.api_key}"
    assert "x-memgpt-memory" not in arrived.headers


@pytest.mark.parametrize("request_", APART.values(), ids=[*APART])
def test_nothing_of_it_is_remembered(
    backend: ScriptedBackend,
    alone: tuple[GatewayProcess, Person],
    request_: dict[str, Any],
):
    gateway, person = alone
    before = stored(gateway)
    backend.reply(text(f"A {SECRET}!"))
    assert person.ask(**request_).text == f"A {SECRET}!"
    assert stored(gateway) == before
    assert recalled(backend, person, SECRET) == []


def test_without_the_header_the_same_words_are_remembered(
    backend: ScriptedBackend, alone: tuple[GatewayProcess, Person]
):
    gateway, person = alone
    backend.reply(send("Lovely!"))
    person.ask(PLAIN)
    assert SECRET.encode() in stored(gateway)
    assert recalled(backend, person, SECRET) == [PLAIN[0]["content"]]


def test_a_person_who_asks_about_such_a_prompt_is_remembered(
    backend: ScriptedBackend, person: Person
):
    question = f"{TITLE[0]['content']}\n\nWhere does this come from?"
    backend.reply(send("From your user interface."))
    person.ask([user(question)])
    assert contents(backend.requests[0])[-1] == question
    found = search(backend, person, "recall_storage_search", query=SECRET)
    assert found.startswith("Showing 1 of 1 results")


def test_memory_shows_nothing_of_itself_in_a_task(backend: ScriptedBackend, anyone: Person):
    backend.reply(send("Lovely!"), text("Quokka Sighting"))
    anyone.say(PLAIN[0]["content"])
    assert anyone.ask(TITLE).text == "Quokka Sighting"
    task = backend.requests[-1].body
    assert task["messages"] == TITLE
    assert "tools" not in task
    backend.reply(send("It was!"))
    anyone.say("Was it?")
    assert "concise title" not in str(backend.requests[-1].body)


BODIES = [b'{ "model":\t"m",\n "messages" : [ ] , "zeros":1e0}', b"no JSON \xff", b""]


@pytest.mark.parametrize("headers", [OFF, {"x-memgpt-memory": "OFF"}, TASK], ids=str)
@pytest.mark.parametrize("body", BODIES, ids=str)
def test_the_body_is_not_even_read(
    backend: ScriptedBackend, person: Person, headers: dict[str, str], body: bytes
):
    backend.reply(error(422, ECHO_WHEN_EMPTY))
    response = post(person, body, headers)
    assert (response.status_code, response.content) == (422, ECHO_WHEN_EMPTY)
    assert backend.requests[0].raw == body


def post(person: Person, body: Any, headers: dict[str, str]) -> httpx.Response:
    key = {"authorization": f"Bearer {person.api_key}", "content-type": "application/json"}
    url = f"{person.base_url}/chat/completions"
    return httpx.post(url, content=body, headers=key | headers, timeout=30)


def test_a_task_in_pieces_goes_through_whole(backend: ScriptedBackend, person: Person):
    body = httpx.Request("POST", "http://x", json={"model": "m", "messages": TITLE}).read()
    backend.reply(text("Quokka"))
    post(person, iter([body[:50], body[50:]]), {})
    assert backend.requests[0].raw == body


@pytest.mark.parametrize("header", [OFF, TASK, {"X-MemGPT-Memory": "read"}], ids=str)
def test_no_key_is_refused_all_the_same(
    backend: ScriptedBackend, gateway: GatewayProcess, header: dict[str, str]
):
    url = f"{gateway.base_url}/chat/completions"
    response = httpx.post(url, json={"model": "m", "messages": TITLE}, headers=header)
    assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")
    assert httpx.post(url, json={"model": "m", "messages": TITLE}).status_code == 401
    assert backend.requests == []


@pytest.mark.parametrize("value", ["", "on", "readonly"])
def test_another_word_for_memory_is_refused(backend: ScriptedBackend, person: Person, value: str):
    response = post(person, b"{}", {"X-MemGPT-Memory": value})
    told = error_of(response)
    assert (response.status_code, told["param"]) == (400, "X-MemGPT-Memory")
    assert backend.requests == []


def test_a_conversations_name_that_is_too_long_is_refused(person: Person):
    response = post(person, b"{}", {"X-MemGPT-Conversation": "n" * 513})
    assert (response.status_code, error_of(response)["param"]) == (400, "X-MemGPT-Conversation")


def test_operators_name_their_own_headers_and_prompts(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--task-headers", "X-Job", "--task-prompts", "Name this\\b\nTag this")
    person = Person(gateway.base_url, api_key, model)
    tagging = [user(f"Tag this: {SECRET}")]
    asked: list[dict[str, Any]] = [
        {"messages": tagging},
        {"messages": PLAIN, "extra_headers": {"X-Job": "title"}},
    ]
    for request in asked:
        backend.reply(text("Animals"))
        person.ask(**request)
    assert [sent.body["messages"] for sent in backend.requests] == [tagging, PLAIN]
    assert recalled(backend, person, SECRET) == []


def test_a_client_that_leaves_a_task_cancels_it(backend: ScriptedBackend, person: Person):
    backend.reply(text("Quokka") + hang())
    url, key = f"{person.base_url}/chat/completions", {"authorization": f"Bearer {person.api_key}"}
    request = {"model": person.model, "messages": TITLE, "stream": True}
    with httpx.stream("POST", url, json=request, headers=key, timeout=30) as response:
        next(response.iter_raw())
    backend.requests[0].wait_disconnected()
