"""A server that reads its model's calls itself, and refuses what it cannot read.

Groq's error: https://console.groq.com/docs/errors; what ``failed_generation`` holds, and the codes,
as told in github.com/sipeed/picoclaw issue 748, github.com/huggingface/smolagents issue 1119,
github.com/vercel/ai issue 6916 and github.com/anomalyco/opencode issue 1018. Ollama's:
github.com/ollama/ollama issue 17638; llama.cpp's: github.com/ggml-org/llama.cpp issue 20650.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.chatting import Person, error_of, raw, send, tool, user
from tests.support.backend import ScriptedBackend
from tests.support.replies import Reply, error, event, text

ADJUST = "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more."
UNREADABLE = "The model called a function in a way that its server cannot read."
ZORILLA = '{"message": "A zorilla!"}'
STREAMED = pytest.mark.parametrize("streamed", [False, True])


def groq(written: str, code: str = "tool_use_failed", message: str = ADJUST) -> dict[str, Any]:
    told = {"message": message, "type": "invalid_request_error", "code": code}
    return {"error": {**told, "failed_generation": written}}


def told(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "code": 500}}


def failed(body: dict[str, Any], *, streamed: bool, status: int = 400) -> Reply:
    return event(body) if streamed else error(status, body)


READABLE = {
    "left open": groq(f"<function=send_message{ZORILLA}"),
    "closed": groq(f"<function=send_message>{ZORILLA}</function>"),
    "applied": groq(f"<function=send_message({ZORILLA})</function>"),
    "its tag lost": groq(f"send_message{ZORILLA}</function>"),
    "of gpt-oss": groq(f'{{"name": "send_message", "arguments": {ZORILLA}}}'),
    "in a list": groq(f'```\n{{"tool_calls": [{{"name": "send_message", "args": {ZORILLA}}}]}}'),
    "against the schema": groq(
        '<function=send_message>{"message": "A zorilla!", "request_heartbeat": "no"}</function>',
        message="tool call validation failed: parameters for tool send_message did not match",
    ),
    "of llama.cpp": told(
        f'Failed to parse input at pos 0: <tool_call>{{"name": "send_message", "arguments": '
        f"{ZORILLA}}}"
    ),
}


@STREAMED
@pytest.mark.parametrize("body", READABLE.values(), ids=[*READABLE])
def test_the_call_is_read_out_of_the_error(
    backend: ScriptedBackend, anyone: Person, streamed: bool, body: dict[str, Any]
) -> None:
    backend.reply(failed(body, streamed=streamed))
    assert anyone.say("I have a zorilla.").text == "A zorilla!"
    assert len(backend.requests) == 1


def test_a_memory_call_is_run_and_the_turn_goes_on(
    backend: ScriptedBackend, anyone: Person
) -> None:
    saved = groq('<function=working_context_append>{"content": "Has a zorilla."}</function>')
    backend.reply(error(400, saved), send("Noted."), send("A zorilla."))
    assert anyone.say("I have a zorilla.").text == "Noted."
    assert "Has a zorilla." in str(backend.requests[1].body["messages"])
    assert anyone.anew().say("What have I?").text == "A zorilla."
    assert "Has a zorilla." in backend.requests[2].body["messages"][0]["content"]


def test_a_call_of_the_clients_own_tool(backend: ScriptedBackend, anyone: Person) -> None:
    backend.reply(error(400, groq('<function=get_weather{"city": "Oslo"}</function>')))
    reply = anyone.say("Weather?", tools=[tool("get_weather", city="string")])
    assert [call[1:] for call in reply.calls] == [("get_weather", '{"city": "Oslo"}')]


UNREAD = {
    "no call": groq("### Top stories\nThere are none."),
    "nothing": groq("", message="Tool choice is required, but model did not call a tool"),
    "the server's words": groq("JSON does not match the expected schema for tool calls"),
    "thoughts": groq(f"zq wants {ZORILLA}: <function=send_message{ZORILLA}", "output_parse_failed"),
    "without a code": told(
        "Tool call validation failed: attempted to call tool 'send_message' which was not in "
        "request.tools"
    ),
    "of Ollama": told(
        'error parsing tool call: raw=\'zq{"message": "A zo\', err=unexpected end of JSON input'
    ),
    "of llama.cpp": told("Failed to parse input at pos 13: zq <|channel|>thought"),
}


@STREAMED
@pytest.mark.parametrize("body", UNREAD.values(), ids=[*UNREAD])
def test_else_the_model_is_asked_again(
    backend: ScriptedBackend, person: Person, streamed: bool, body: dict[str, Any]
) -> None:
    backend.reply(*[failed(body, streamed=streamed, status=500)] * 2, send("A zorilla!"))
    assert person.say("I have a zorilla.").text == "A zorilla!"
    first, second, third = backend.requests
    assert first.body == second.body == third.body


@STREAMED
@pytest.mark.parametrize("body", UNREAD.values(), ids=[*UNREAD])
def test_one_that_never_can_is_told_in_words(
    backend: ScriptedBackend, person: Person, streamed: bool, body: dict[str, Any]
) -> None:
    backend.script(lambda _: failed(body, streamed=streamed))
    request = {"model": person.model, "messages": [user("Hello.")]}
    answer = raw(person.base_url, person.api_key, **request)
    assert (answer.status_code, error_of(answer)["message"]) == (502, UNREADABLE)
    assert "send_message" not in answer.text
    assert "zq" not in answer.text
    assert len(backend.requests) == 3


def test_behind_words_of_an_answer_it_is_told_in_words(
    backend: ScriptedBackend, person: Person
) -> None:
    backend.reply(text("So,") + event(told("Failed to parse input at pos 3: zq send_message")))
    request = {"model": person.model, "messages": [user("Hello.")], "max_tokens": 500}
    answer = raw(person.base_url, person.api_key, **request)
    assert (answer.status_code, error_of(answer)["message"]) == (502, UNREADABLE)


def test_the_clients_own_functions_are_its_own_matter(
    backend: ScriptedBackend, person: Person
) -> None:
    body = READABLE["closed"]
    backend.reply(error(400, body))
    request: dict[str, Any] = {"model": person.model, "messages": [user("Hello.")]}
    request |= {"tools": [tool("get_weather", city="string")]}
    headers = {"authorization": f"Bearer {person.api_key}", "x-memgpt-memory": "off"}
    url = f"{person.base_url}/chat/completions"
    answer = httpx.post(url, json=request, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()) == (400, body)
    assert len(backend.requests) == 1


WITHHELD = [
    "Invalid schema for function 'working_context_append': 'content' is missing.",
    "Unexpected argument request_heartbeat.",
    "The template cannot render 'System Alert: Today is Monday'.",
]


@pytest.mark.parametrize("message", WITHHELD)
def test_an_error_in_words_about_what_the_gateway_adds(
    backend: ScriptedBackend, person: Person, message: str
) -> None:
    """Status, headers and the words for programs stay; what nobody sent is not spoken of."""
    body = {"error": {"message": message, "type": "invalid_request_error", "code": "bad_schema"}}
    backend.reply(error(409, body, {"x-request-id": "req-7"}))
    request = {"model": person.model, "messages": [user("Hello.")]}
    answer = raw(person.base_url, person.api_key, **request)
    assert answer.status_code == 409
    assert answer.headers["x-request-id"] == "req-7"
    assert error_of(answer) == {
        "message": "The backend reported an error, "
        "in words about what the gateway adds to a request.",
        "type": "invalid_request_error",
        "param": None,
        "code": "bad_schema",
    }


@pytest.mark.parametrize("message", WITHHELD)
def test_the_same_in_a_stream(backend: ScriptedBackend, person: Person, message: str) -> None:
    backend.reply(event(told(message)))
    request = {"model": person.model, "messages": [user("Hello.")], "stream": True}
    answer = raw(person.base_url, person.api_key, **request)
    assert answer.status_code == 502
    assert message not in answer.text
    assert error_of(answer)["code"] == "backend_broken"


def test_a_clients_own_function_may_be_spoken_of(backend: ScriptedBackend, person: Person) -> None:
    body = {"error": {"message": "Invalid schema for function 'send_message'.", "code": None}}
    backend.reply(error(409, body))
    tools = [tool("send_message", to="string")]
    request = {"model": person.model, "messages": [user("Hello.")], "tools": tools}
    answer = raw(person.base_url, person.api_key, **request)
    assert (answer.status_code, answer.json()) == (409, body)
