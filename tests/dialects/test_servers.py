"""Each server's shapes, through the real gateway, to the real ``openai`` package."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.dialects.servers import SERVERS, USAGE, Called, Server
from tests.e2e.chatting import Person, results, streamed, tool, tool_result, whole
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Reply

pytestmark = pytest.mark.slow

OSLO: Called = ("call_oslo", "get_weather", {"city": "Oslo"})
ROME: Called = ("call_rome", "get_weather", {"city": "Rome"})
SAVE: Called = ("call_save", "working_context_append", {"content": "tea"})
SEND: Called = ("call_send", "send_message", {"message": "Hello, Ada."})
WEATHER = [tool("get_weather", city="string")]
THOUGHTS = ["a secret", " thought"]


@pytest.fixture(params=SERVERS.values(), ids=[*SERVERS])
def server(request: pytest.FixtureRequest) -> Server:
    chosen: Server = request.param
    return chosen


@pytest.fixture(params=[whole, streamed], ids=["whole", "streamed"])
def person(request: pytest.FixtureRequest, gateway: GatewayProcess, api_key: str) -> Person:
    return Person(gateway.base_url, api_key, f"model-{api_key[-12:]}", request.param)


def answer(server: Server, **said: Any) -> Reply:
    headers = {"content-type": "text/event-stream"}
    return Reply(body=server.stream(**said), headers=headers)


def at_once(server: Server, **said: Any) -> Reply:
    headers = {"content-type": "application/json"}
    return Reply(body=server.whole(**said), headers=headers)


def test_a_reply_in_plain_content(backend: ScriptedBackend, person: Person, server: Server) -> None:
    backend.reply(*[answer(server, text=["Hello,", " Ada", "."])] * 2)
    if person.way is streamed:
        person.options = {"stream_options": {"include_usage": True}}
    for _ in range(2):  # held back, then streamed
        told = person.anew().say("Hello")
        assert (told.text, told.finish_reason) == ("Hello, Ada.", "stop")
        assert told.usage is not None
        assert told.usage.total_tokens == USAGE["total_tokens"]


def test_a_message_beside_a_memory_call(
    backend: ScriptedBackend, person: Person, server: Server
) -> None:
    backend.reply(answer(server, called=[SAVE, SEND]))
    told = person.say("I like tea")
    assert (told.text, told.calls, told.finish_reason) == ("Hello, Ada.", [], "stop")


def test_memory_calls_are_run(backend: ScriptedBackend, person: Person, server: Server) -> None:
    search: Called = ("call_search", "archival_storage_search", {"query": "tea"})
    backend.reply(answer(server, called=[SAVE, search]), answer(server, called=[SEND]))
    assert person.say("I like tea").text == "Hello, Ada."
    saved, found = results(backend.requests[1])
    assert saved.startswith("Appended.")
    assert found == "Showing 0 of 0 results (page 1/1)."


def test_the_signatures_of_calls_go_back_with_them(
    backend: ScriptedBackend, person: Person
) -> None:
    gemini = SERVERS["Gemini"]
    backend.reply(answer(gemini, called=[SAVE, ROME]), answer(gemini, called=[SEND]))
    told = person.say("What is the weather?", tools=WEATHER)
    person.said.append(tool_result(told.calls[0][0], "Rain."))
    assert person.say("Well?", tools=WEATHER).text == "Hello, Ada."
    sent = [m for m in backend.requests[1].body["messages"] if m.get("tool_calls")]
    assert [call.get("extra_content") for call in sent[0]["tool_calls"]] == [
        {"google": {"thought_signature": "Cs="}},
        None,
    ]


@pytest.mark.parametrize("more", [{}, {"tool_choice": "required"}], ids=["", "clean"])
def test_calls_of_the_clients_tools(
    backend: ScriptedBackend, person: Person, server: Server, more: dict[str, Any]
) -> None:
    backend.reply(answer(server, called=[OSLO, ROME]))
    told = person.say("What is the weather?", tools=WEATHER, **more)
    calls = [(id, name, json.loads(arguments)) for id, name, arguments in told.calls]
    assert calls == [OSLO, ROME]


@pytest.mark.parametrize("more", [{}, {"logprobs": True}], ids=["", "clean"])
def test_reasoning_stays_inside(
    backend: ScriptedBackend, person: Person, server: Server, more: dict[str, Any]
) -> None:
    said = answer(server, thoughts=THOUGHTS, text=["Hello,", " Ada."])
    backend.reply(said, said)
    for _ in range(2):
        assert person.anew().say("Hello", **more).text == "Hello, Ada."


def test_an_answer_that_is_no_stream(
    backend: ScriptedBackend, person: Person, server: Server
) -> None:
    backend.reply(
        at_once(server, thoughts=THOUGHTS, text=["Let me see."], called=[SAVE]),
        at_once(server, thoughts=THOUGHTS, called=[OSLO, ROME]),
        at_once(server, thoughts=THOUGHTS, text=["Rain."]),
    )
    asked = person.say("I like tea", tools=WEATHER)
    assert asked.text == ""
    calls = [(id, name, json.loads(arguments)) for id, name, arguments in asked.calls]
    assert calls == [OSLO, ROME]
    person.said += [tool_result(id, "rain") for id, _, _ in asked.calls]
    assert person.ask(person.said, tools=WEATHER).text == "Rain."


def test_reasoning_stays_inside_before_a_message(
    backend: ScriptedBackend, person: Person, server: Server
) -> None:
    backend.reply(answer(server, thoughts=THOUGHTS, called=[SEND]))
    assert person.say("Hello").text == "Hello, Ada."


def test_an_error_is_told(backend: ScriptedBackend, person: Person, server: Server) -> None:
    status, body = server.error
    data = json.dumps(body)
    if status == 200:
        stream = server.events([data, "[DONE]"])
        backend.reply(Reply(body=stream, headers={"content-type": "text/event-stream"}))
    else:
        backend.reply(Reply(status=status, body=data.encode()))
    with pytest.raises(openai.APIStatusError) as failure:
        person.say("Hello")
    if status == 200:
        assert body["error"]["message"] in str(failure.value)
    else:
        assert (failure.value.status_code, failure.value.response.json()) == (status, body)
