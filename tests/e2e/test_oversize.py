"""Prompts stay inside the window whatever a conversation holds, and nothing of it is lost."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
import tiktoken

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, assistant, send, tool, tool_result, user
from tests.e2e.prompts import contents, messages_of, recalled, search
from tests.e2e.test_small_window import WORDS, counted, is_summary
from tests.support.backend import ScriptedBackend
from tests.support.replies import Reply, call, text

READ = tool("read", path="string")


def words(start: str, tokens: int) -> str:
    """A text of about so many tokens that no other start gives."""
    return f"{start}: " + " ".join(WORDS[(len(start) + n) % len(WORDS)] for n in range(tokens))


def agreeable(body: dict[str, Any]) -> Reply:
    return text("So far.") if is_summary(body) else send("Yes.")


def assert_paired(messages: list[dict[str, Any]]) -> None:
    """Every tool message answers a call of the assistant message before it."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        else:
            assert waiting == []
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
    assert waiting == []


@pytest.fixture
def fits(backend: ScriptedBackend, encoding: tiktoken.Encoding) -> Any:
    """Check every request so far: inside the window, calls paired, one system message."""

    def check(window: int) -> None:
        assert backend.requests
        for request in backend.requests:
            assert counted(encoding, request) <= window
            messages = request.body["messages"]
            assert_paired(messages)
            assert [m["role"] for m in messages].count("system") == 1

    return check


def read_files(*ids: str) -> dict[str, Any]:
    calls = [
        {
            "id": id,
            "type": "function",
            "function": {"name": "read", "arguments": json.dumps({"path": id})},
        }
        for id in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


@pytest.mark.parametrize("window", [2048, 4096, 8192])
def test_five_results_that_are_too_large_together(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    api_key: str,
    model: str,
    fits: Any,
    window: int,
) -> None:
    gateway = start_gateway("--context-window", str(window))
    person = Person(gateway.base_url, api_key, model, options={"tools": [READ]})
    backend.script(agreeable)
    ids = [f"file{n}" for n in range(5)]
    results = [tool_result(id, words(id, 1500) + f" mark-{id}") for id in ids]
    history = [user("Read them all."), read_files(*ids), *results]
    answer = person.ask(history)
    assert answer.text == "Yes."
    fits(window)
    seen = [m for m in backend.requests[-1].body["messages"] if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in seen] == ids
    assert person.ask([*history, answer.message(), user("And?")]).text == "Yes."
    fits(window)
    for id in ids:
        found = search(backend, person, "archival_storage_search", query=f"mark-{id}")
        assert found.startswith("Showing 1 of 1 results")
        assert f"mark-{id}" in found


@pytest.mark.parametrize("window", [2048, 8192])
def test_a_long_history_in_the_first_request(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    api_key: str,
    model: str,
    fits: Any,
    window: int,
) -> None:
    """Imported from elsewhere: long messages, tool exchanges, several messages in a row."""
    gateway = start_gateway("--context-window", str(window))
    person = Person(gateway.base_url, api_key, model)
    backend.script(agreeable)
    history: list[dict[str, Any]] = []
    for n in range(60):
        history += [user(words(f"question {n}", 40 * (n % 20))), user(words(f"more {n}", 30))]
        history += [read_files(f"c{n}"), tool_result(f"c{n}", words(f"page {n}", 50 * (n % 30)))]
        history.append(assistant(words(f"answer {n}", 60)))
    history += [user(words(f"at once {n}", window // 5)) for n in range(6)]
    assert person.ask(history).text == "Yes."
    fits(window)
    assert backend.requests[-1].body["messages"][-1]["role"] == "user"
    (found,) = recalled(backend, person, '"answer 7:"')
    assert found.startswith("answer 7: ")


PASTED = {
    "one line without a space": "abcdefghij" * 20_000,
    "base64": b64encode(bytes(n * n % 251 for n in range(100_000))).decode(),
    "three bytes each": "記憶の宮殿" * 10_000,
    "four bytes each": "🎂🧁🍰" * 10_000,
    "nothing but spaces and lines": " \n\t\r\n" * 20_000,
    "escapes": '\\"\\u0000\x7f\u2028' * 20_000,
}


@pytest.mark.parametrize("window", [2048, 8192])
@pytest.mark.parametrize("pasted", PASTED.values(), ids=PASTED)
def test_whatever_is_pasted(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    api_key: str,
    model: str,
    fits: Any,
    pasted: str,
    window: int,
) -> None:
    gateway = start_gateway("--context-window", str(window))
    person = Person(gateway.base_url, api_key, model)
    backend.script(agreeable)
    assert person.say(pasted).text == "Yes."
    assert person.say("and now?").text == "Yes."
    fits(window)


def test_more_images_than_the_window_holds(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
) -> None:
    gateway = start_gateway("--context-window", "4096")
    person = Person(gateway.base_url, api_key, model)
    backend.script(agreeable)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    question = {"type": "text", "text": words("Which is the oldest?", 40)}
    few = {"role": "user", "content": [question, image]}
    many = {"role": "user", "content": [question, *[image] * 12]}
    person.ask([few])
    assert backend.requests[0].body["messages"][-1] == few
    person.ask([many])
    text, *others = backend.requests[1].body["messages"][-1]["content"]
    assert text == question
    left = [other for other in others if other == image]
    assert 1 <= len(left) < 4
    assert others[-len(left) :] == left, "the newest stay"
    gone = [other["text"] for other in others[: -len(left)]]
    assert all(note.startswith("(An image") for note in gone)


def test_a_conversation_moves_to_a_smaller_window_and_back(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, fits: Any
) -> None:
    backend.models = [
        {"id": "large", "object": "model", "context_length": 32_768},
        {"id": "small", "object": "model", "context_length": 2048},
    ]
    gateway = start_gateway()
    person = Person(gateway.base_url, api_key, "large")
    numbers = iter(range(100))

    def searching(body: dict[str, Any]) -> Reply:
        if is_summary(body):
            return text("So far.")
        if body["messages"][-1]["role"] == "tool":
            return send(words("found", 1500))
        query = {"query": f"page {next(numbers)}"}
        return call("recall_storage_search", query) if body["model"] == "large" else send("Yes.")

    backend.script(searching)
    for n in range(4):
        person.say(words(f"page {n}", 2500))
    before = len(backend.requests)
    person.model = "small"
    del backend.requests[:before]
    assert person.say(words("now", 300)).text == "Yes."
    fits(2048)
    # The same again, from what is stored: only a warning of memory pressure comes behind it.
    again = person.said[:-1]
    first = [r for r in backend.requests if not is_summary(r.body)][-1]
    assert person.ask(again).text == "Yes."
    assert messages_of(backend.requests[-1]).startswith(messages_of(first))
    assert person.say("go on").text == "Yes."
    fits(2048)
    person.model = "large"
    assert person.say("go on").text == words("found", 1500)
    (found,) = recalled(backend, person, '"page 2:"')
    assert found.startswith("page 2: ")


def test_a_conversation_of_one_message_moves_to_a_smaller_window(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, fits: Any
) -> None:
    """Regenerated by another model: nothing can be evicted, the message is cut for it."""
    backend.models = [
        {"id": "large", "object": "model", "context_length": 32_768},
        {"id": "small", "object": "model", "context_length": 2048},
    ]
    gateway = start_gateway()
    backend.script(agreeable)
    question = [user(words("a long question", 5000))]
    large, small = (Person(gateway.base_url, api_key, name) for name in ("large", "small"))
    large.ask(question)
    assert contents(backend.requests[0])[-1] == question[0]["content"]
    backend.requests.clear()
    small.ask(question)
    small.ask(question)
    fits(2048)
    first, second = backend.requests
    assert messages_of(first) == messages_of(second)
    cut = contents(first)[-1]
    assert cut.endswith("… (cut here; recall storage holds all of it)")
    assert question[0]["content"].startswith(cut[:100])
    large.ask(question)
    assert contents(backend.requests[-1])[-1] == question[0]["content"]
