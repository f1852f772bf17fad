"""Reasoning goes back to the backend that wants it, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, raw, send, tool, tool_result, user
from tests.e2e.exact import ask
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Reply, call, error, event, reasoning, text

SECRET = "zq-thought"
WEATHER = [tool("get_weather", city="string")]
OFF = {"X-MemGPT-Memory": "off"}
SAVE = call("working_context_append", {"content": "Likes tea", "request_heartbeat": True})
Body = dict[str, Any]


def assistants(body: Body) -> list[Body]:
    return [message for message in body["messages"] if message["role"] == "assistant"]


def thoughts(body: Body) -> list[Any]:
    return [message.get("reasoning_content") for message in assistants(body)]


def thinking(number: int) -> Reply:
    return reasoning(f"{SECRET}-{number}")


def test_within_a_turn_and_no_longer(backend: ScriptedBackend, anyone: Person) -> None:
    backend.reply(thinking(1) + SAVE, thinking(2) + send("Noted."), send("Again."))
    assert anyone.say("I like tea.").text == "Noted."
    assert anyone.say("And now?").text == "Again."
    _, second, third = (request.body for request in backend.requests)
    assert thoughts(second) == [f"{SECRET}-1"]
    assert SECRET not in json.dumps(third)
    assert "Likes tea" in json.dumps(assistants(third)), "the calls are still there"


def test_while_a_clients_tool_runs(backend: ScriptedBackend, anyone: Person) -> None:
    """What a turn has thought before the pause is there behind it; the client has none of it."""
    backend.reply(thinking(1) + SAVE, thinking(2) + call("get_weather", {"city": "Oslo"}))
    told = anyone.say("Weather?", tools=WEATHER)
    ((id, name, _),) = told.calls
    assert (name, told.text) == ("get_weather", "")
    backend.reply(thinking(3) + send("It rains."))
    anyone.said.append(tool_result(id, "rain"))
    assert anyone.ask(anyone.said, tools=WEATHER).text == "It rains."
    assert thoughts(backend.requests[-1].body) == [f"{SECRET}-1", f"{SECRET}-2"]


@pytest.mark.parametrize("stream", [False, True])
def test_no_client_sees_it(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, stream: bool
) -> None:
    backend.reply(thinking(1) + SAVE, thinking(2) + call("get_weather", {"city": "Oslo"}))
    request = {"model": f"m-{api_key}", "messages": [user("Weather?")], "tools": WEATHER}
    response = raw(gateway.base_url, api_key, **request, stream=stream)
    assert "get_weather" in response.text
    assert SECRET not in response.text
    assert "reasoning" not in response.text


def deepseek(body: Body) -> str | None:
    """DeepSeek's thinking mode with tools, as its guide tells."""
    if all(message.get("reasoning_content") for message in assistants(body)):
        return None
    return "The `reasoning_content` in the thinking mode must be passed back to the API."


def groq(body: Body) -> str | None:
    if any("reasoning_content" in message for message in body["messages"]):
        return "property 'reasoning_content' is unsupported"
    return None


def strict(backend: ScriptedBackend, refuses: Any, *answers: Reply) -> list[Body]:
    """Have the backend refuse; return the requests that it has taken."""
    taken: list[Body] = []

    def answer(body: Body) -> Reply:
        if why := refuses(body):
            return error(400, {"error": {"message": why, "type": "invalid_request_error"}})
        taken.append(body)
        return answers[len(taken) - 1]

    backend.script(answer)
    return taken


def test_a_backend_that_wants_it_always(backend: ScriptedBackend, anyone: Person) -> None:
    """What was thought before it said so is gone; from then on all of it is kept."""
    taken = strict(
        backend,
        deepseek,
        thinking(1) + SAVE,
        thinking(2) + send("Noted."),
        thinking(3) + send("Two."),
        thinking(4) + text("Three."),
        send("Four."),
    )
    for words, said in [("I like tea.", "Noted."), ("2", "Two."), ("3", "Three."), ("4", "Four.")]:
        assert anyone.say(words).text == said
    assert len(backend.requests) - len(taken) == 1, "it is refused once"
    assert thoughts(taken[-1]) == [" ", " ", f"{SECRET}-3", f"{SECRET}-4"]
    assert thoughts(taken[1]) == [f"{SECRET}-1"]


def test_a_backend_that_refuses_it(backend: ScriptedBackend, anyone: Person) -> None:
    taken = strict(
        backend, groq, thinking(1) + SAVE, send("Noted."), thinking(2) + SAVE, send("Two.")
    )
    assert anyone.say("I like tea.").text == "Noted."
    assert anyone.say("2").text == "Two."
    assert len(backend.requests) - len(taken) == 1, "it is refused once"
    assert SECRET not in json.dumps(taken)


def test_openrouters_details_go_back_whole(backend: ScriptedBackend, anyone: Person) -> None:
    block = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}

    def detail(**more: Any) -> Body:
        delta = {"content": "", "reasoning_details": [{**block, **more}]}
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    pieces = [detail(text="zq-"), detail(text="thought"), detail(signature="Eq0=")]
    first = event(pieces[0]) + event(pieces[1]) + event(pieces[2]) + SAVE
    backend.reply(first, send("Noted."))
    assert anyone.say("I like tea.").text == "Noted."
    (made,) = assistants(backend.requests[1].body)
    assert made["reasoning_details"] == [{**block, "text": SECRET, "signature": "Eq0="}]


def test_another_model_gets_none_of_it(
    backend: ScriptedBackend, tmp_path: Any, start_gateway: StartGateway, api_key: str
) -> None:
    file = tmp_path / "backends.yaml"
    file.write_text(
        f"backends:\n  - name: one\n    url: {backend.base_url}\n    models: [small, other]\n"
        "    retries: 0\nfallbacks: {small: [other]}\n"
    )
    gateway = start_gateway("--backends-file", str(file), backend_url=None)
    backend.reply(thinking(1) + SAVE, error(503), send("Noted."))
    assert Person(gateway.base_url, api_key, "small").say("I like tea.").text == "Noted."
    asked = [request.body for request in backend.requests]
    assert [body["model"] for body in asked] == ["small", "small", "other"]
    assert thoughts(asked[1]) == [f"{SECRET}-1"]
    assert SECRET not in json.dumps(asked[2])


CALLED = [
    user("Weather?"),
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        ],
    },
    tool_result("c1", "rain"),
]
"""What a client resends that knows nothing of reasoning."""


@pytest.mark.parametrize("stream", [False, True])
def test_with_memory_off_a_client_need_not_know_of_it(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, stream: bool
) -> None:
    taken = strict(backend, deepseek, *[text("It rains.")] * 3)
    person = Person(gateway.base_url, api_key, f"m-{api_key}")
    for _ in range(3):
        told = ask(person, stream, messages=CALLED, tools=WEATHER, extra_headers=OFF)
        assert told.message["content"] == "It rains."
    assert [thoughts(body) for body in taken] == [[" "]] * 3
    assert taken[0]["tools"] == WEATHER
    assert len(backend.requests) - len(taken) == 1, "it is refused once"


def test_with_memory_off_it_is_the_fallback_that_wants_it(
    backend: ScriptedBackend, tmp_path: Any, start_gateway: StartGateway, api_key: str
) -> None:
    """What is learned of one backend is not taken to another: the first refuses what that wants."""
    file = tmp_path / "backends.yaml"
    file.write_text(
        f"backends:\n  - {{name: one, url: '{backend.base_url}', models: [first], retries: 0}}\n"
        f"  - {{name: two, url: '{backend.base_url}', models: [second], retries: 0}}\n"
        "fallbacks: {first: [second]}\n"
    )
    gateway = start_gateway("--backends-file", str(file), backend_url=None)
    away = True

    def answer(body: Body) -> Reply:
        if body["model"] == "first" and away:
            return error(503)
        why = (groq if body["model"] == "first" else deepseek)(body)
        return error(400, {"error": {"message": why}}) if why else send("It rains.")

    backend.script(answer)
    person = Person(gateway.base_url, api_key, "first")
    asked = {"messages": CALLED, "tools": WEATHER, "extra_headers": OFF}
    for requests in ([None, None, " "], [None, " "], [None, " "]):
        before = len(backend.requests)
        assert ask(person, False, **asked).message["tool_calls"]
        sent = [request.body for request in backend.requests[before:]]
        assert [thoughts(body)[0] for body in sent] == requests
    away = False
    before = len(backend.requests)
    assert ask(person, False, **asked).message["tool_calls"]
    assert person.ask(CALLED, tools=WEATHER).text == "It rains."
    sent = [request.body for request in backend.requests[before:]]
    assert [body["model"] for body in sent] == ["first", "first"]
    assert [thoughts(body)[0] for body in sent] == [None, None]


def test_with_memory_off_other_refusals_come_as_they_are(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str
) -> None:
    """Nothing is sent again that would be refused again, and no refusal is changed."""
    refusal = {"error": {"message": deepseek({"messages": CALLED}), "odd": " spaces "}}
    backend.script(lambda body: error(400, refusal))
    headers = {"Authorization": f"Bearer {api_key}", **OFF}
    for messages, asked in (([user("Weather?")], 1), (CALLED, 2)):
        before = len(backend.requests)
        response = httpx.post(
            f"{gateway.base_url}/chat/completions",
            headers=headers,
            json={"model": f"m-{api_key}", "messages": messages},
        )
        assert (response.status_code, response.json()) == (400, refusal)
        assert len(backend.requests) - before == asked
