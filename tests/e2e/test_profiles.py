"""Backends that refuse something of an ordinary request: found out, remembered, unseen."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

from memgpt_proxy.agent.functions import FUNCTIONS
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, raw, send, streamed, tool, tool_result, user, whole
from tests.e2e.prompts import recalled
from tests.e2e.refusing import (
    Body,
    Refuses,
    Strict,
    gemma,
    knows_no,
    no_system,
    no_tools,
    roles,
    written,
)
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.llama import LlamaServer
from tests.support.replies import Reply, call, error, text


@pytest.mark.parametrize("refuses", [no_tools, gemma], ids=["no_tools", "gemma"])
def test_memory_behind_a_backend_without_tools(
    backend: ScriptedBackend, anyone: Person, refuses: Refuses
):
    strict = Strict(refuses, backend)
    strict.answers += [
        text("She told me her pet.\n")
        + written("working_context_append", content="Pet: zorilla", request_heartbeat=True),
        written("send_message", message="A zorilla, how nice!"),
    ]
    assert anyone.say("I have a zorilla.").text == "A zorilla, how nice!"
    first, second = strict.taken
    assert "working_context_append" in first["messages"][0]["content"]
    assert "Result of working_context_append:" in second["messages"][-1]["content"]
    refused = strict.refused
    assert refused == (1 if refuses is no_tools else 3)

    strict.answers += [
        written("recall_storage_search", query="zorilla"),
        text("Your zorilla."),
    ]
    assert anyone.anew().say("What is my pet?").text == "Your zorilla."
    assert "I have a zorilla." in strict.taken[-1]["messages"][-1]["content"]
    assert "Pet: zorilla" in strict.taken[-1]["messages"][0]["content"]
    assert strict.refused == refused, "it is remembered"


def test_a_clients_tool_behind_a_backend_without_tools(backend: ScriptedBackend, anyone: Person):
    strict = Strict(gemma, backend)
    weather = tool("get_weather", city="string")
    strict.answers += [
        text("I have to look.\n") + written("get_weather", city="Kyiv"),
        text("It rains."),
    ]
    asked = anyone.say("Weather?", tools=[weather])
    assert asked.text == ""
    ((id, name, arguments),) = asked.calls
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Kyiv"})
    assert asked.finish_reason == "tool_calls"
    anyone.said.append(tool_result(id, "rain"))
    assert anyone.ask(anyone.said, tools=[weather]).text == "It rains."
    assert "Result of get_weather:\nrain" in strict.taken[-1]["messages"][-1]["content"]


def test_deprecated_functions(backend: ScriptedBackend, anyone: Person):
    def refuses(body: Body) -> str | None:
        return knows_no("tools")(body) or (
            "role 'tool' is unknown" if "tool" in roles(body) else None
        )

    strict = Strict(refuses, backend)
    strict.answers += [
        call("working_context_append", {"content": "Likes tea", "request_heartbeat": True}),
        send("Noted."),
    ]
    assert anyone.say("I like tea.").text == "Noted."
    first, second = strict.taken
    assert {each["name"] for each in first["functions"]} == {*FUNCTIONS}
    assert second["messages"][-1]["role"] == "function"
    assert strict.refused == 1


@pytest.mark.parametrize(
    ("refuses", "options", "expected"),
    [
        (knows_no("stream_options"), {"max_tokens": 50}, {"max_tokens": 1074, "stream": True}),
        (knows_no("max_completion_tokens"), {"max_completion_tokens": 50}, {"max_tokens": 1074}),
        (knows_no("max_tokens"), {"max_tokens": 50}, {"max_completion_tokens": 1074}),
        (knows_no("parallel_tool_calls"), {"parallel_tool_calls": False}, {}),
        (no_system, {}, {}),
    ],
    ids=["stream_options", "max_completion_tokens", "max_tokens", "parallel_tool_calls", "system"],
)
def test_a_field_that_is_refused(
    backend: ScriptedBackend, anyone: Person, refuses: Refuses, options: Body, expected: Body
):
    strict = Strict(refuses, backend, [send("One."), send("Two.")])
    assert anyone.say("Hello.", **options).text == "One."
    assert anyone.say("Again.", **options).text == "Two."
    assert strict.refused == 1
    for body in strict.taken:
        assert {name: body[name] for name in expected} == expected
        assert {each["function"]["name"] for each in body["tools"]} == {*FUNCTIONS}


ONLY_STREAM = {
    "Qwen": "parameter.enable_thinking must be set to false for non-streaming calls",
    "QwQ": "This model only support stream mode, please enable the stream parameter to access it.",
    "ModelScope": "enable thinking can not be support when `stream=False`.",
    "Codex": "Stream must be set to true",
}
NO_STREAM = {
    "llama.cpp": "Cannot use tools with stream",
    "o1": "Unsupported value: 'stream' does not support true with this model.",
}


REACHES_FURTHER = [
    "This model does not support stream_options",
    "This model does not support stream_options.include_usage",
]


@pytest.mark.parametrize("words", ONLY_STREAM.values(), ids=[*ONLY_STREAM])
def test_a_backend_that_only_streams(backend: ScriptedBackend, person: Person, words: str):
    person.way = whole
    refuses = functools.partial(wants, True, words)
    strict = Strict(refuses, backend, [send("One."), send("Two.")])
    assert person.say("Hello.").text == "One."
    assert person.say("Again.").text == "Two."
    assert strict.refused == 1
    assert [body["stream_options"]["include_usage"] for body in strict.taken] == [True, True]


@pytest.mark.parametrize("words", NO_STREAM.values(), ids=[*NO_STREAM])
def test_a_backend_that_cannot_stream(backend: ScriptedBackend, person: Person, words: str):
    person.way = streamed
    refuses = functools.partial(wants, False, words)
    strict = Strict(refuses, backend, [send("One."), send("Two.")])
    assert person.say("Hello.").text == "One."
    assert person.say("Again.").text == "Two."
    assert strict.refused == 1
    assert all("stream_options" not in body for body in strict.taken)


@pytest.mark.parametrize("status", [504, 524])
def test_where_a_whole_answer_takes_too_long(backend: ScriptedBackend, person: Person, status: int):
    """Whatever stands before the backend waits for the first byte no longer than a minute."""
    person.way = whole
    given_up = error(status, b"<html>Gateway Time-out</html>")
    backend.script(lambda body: send("Long.") if body["stream"] else given_up)
    assert person.say("Hello.").text == "Long."
    assert person.say("Again.").text == "Long."
    assert [request.body["stream"] for request in backend.requests] == [False, True, True]


@pytest.mark.parametrize("words", REACHES_FURTHER)
def test_one_that_speaks_of_something_else_goes_on_streaming(
    backend: ScriptedBackend, person: Person, words: str
):
    person.way = streamed
    strict = Strict(lambda body: words if "stream_options" in body else None, backend)
    strict.answers += [send("One."), send("Two.")]
    assert [person.say("Hello.").text, person.say("Again.").text] == ["One.", "Two."]
    assert [body["stream"] for body in strict.taken] == [True, True]


def test_a_profile_of_the_operators_is_no_reason_to_wait_in_vain(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--backend-profile", "no_developer")
    backend.script(lambda body: send("Long.") if body["stream"] else error(504))
    patient = Person(gateway.base_url, api_key, model)
    assert [patient.say("Hello.").text, patient.say("Again.").text] == ["Long.", "Long."]
    assert [request.body["stream"] for request in backend.requests] == [False, True, True]


def wants(stream: bool, words: str, body: Body) -> str | None:
    return None if body["stream"] is stream else words


def test_a_refusal_that_no_trait_heals_is_the_first(backend: ScriptedBackend, person: Person):
    """And what did not help is not remembered."""
    words = iter(["this model does not support tools", "the second refusal", "the third"])
    backend.script(lambda _: error(400, {"error": {"message": next(words)}}))
    request = {"model": person.model, "messages": [user("Hello.")]}
    response = raw(person.base_url, person.api_key, **request)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "this model does not support tools"
    assert len(backend.requests) == 3
    backend.reply(send("Hello."))
    assert person.say("Hello.").text == "Hello."
    assert "tools" in backend.requests[-1].body


def test_the_clients_own_fault_comes_back_untouched(backend: ScriptedBackend, person: Person):
    body = b'{"error": {"message": "temperature is not supported at 9",\n "code": 7}}'
    backend.reply(error(400, body))
    request = {"model": person.model, "messages": [user("Hello.")], "temperature": 9}
    response = raw(person.base_url, person.api_key, **request)
    assert (response.status_code, response.content) == (400, body)
    assert len(backend.requests) == 1


def test_an_operators_profile_is_all_there_is(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--backend-profile", "no_tools,no_system,alternating")
    strict = Strict(gemma, backend, [text("Hello!")])
    assert Person(gateway.base_url, api_key, model).say("Hello.").text == "Hello!"
    assert strict.refused == 0
    strict.refuses = knows_no("stream_options")
    asked = {"model": model, "messages": [user("Hello.")], "stream": True}
    assert raw(gateway.base_url, api_key, **asked).status_code == 400
    assert strict.refused == 1


def test_a_backend_of_the_file_has_its_own(
    backend: ScriptedBackend, tmp_path: Path, start_gateway: StartGateway, api_key: str
):
    file = tmp_path / "backends.yaml"
    file.write_text(
        f"backends:\n  - name: old\n    url: {backend.base_url}\n    models: [small]\n"
        "    profile: [no_tools, no_system, alternating]\n"
    )
    gateway = start_gateway("--backends-file", str(file), backend_url=None)
    strict = Strict(gemma, backend, [text("Hello!")])
    assert Person(gateway.base_url, api_key, "small").say("Hello.").text == "Hello!"
    assert strict.refused == 0


def test_what_was_said_is_stored_once(backend: ScriptedBackend, person: Person):
    strict = Strict(gemma, backend, [text("Hi there.")])
    person.say("The quoll sleeps.")
    strict.refuses = lambda _: None
    backend.script(lambda _: text("unexpected"))
    other = Person(person.base_url, person.api_key, f"{person.model}-tools")
    assert recalled(backend, other, "quoll") == ["The quoll sleeps."]


GEMMA_TEMPLATE = """\
{%- if messages[0]['role'] == 'system' %}
{{- raise_exception('System role not supported') }}
{%- endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


def test_a_template_that_fails_is_no_failure_of_the_server(
    backend: ScriptedBackend, tmp_path: Path, start_gateway: StartGateway, api_key: str
):
    """Some servers answer 500 then: it is neither retried as it is nor taken elsewhere."""
    file = tmp_path / "backends.yaml"
    file.write_text(
        f"backends:\n  - name: one\n    url: {backend.base_url}\n    models: [small, other]\n"
        "fallbacks: {small: [other]}\n"
    )
    gateway = start_gateway("--backends-file", str(file), backend_url=None)
    backend.reply(error(500, {"error": {"message": "System role not supported"}}), send("Hello!"))
    assert Person(gateway.base_url, api_key, "small").say("Hello.").text == "Hello!"
    assert [each.body["model"] for each in backend.requests] == ["small", "small"]
    assert "system" not in roles(backend.requests[1].body)


def test_summaries_are_written_so_too(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--context-window", "4096")
    strict = Strict(gemma, backend)

    def answer(body: Body) -> Reply:
        strict.answers = [text("Noted.")]
        return strict.answer(body)

    backend.script(answer)
    person = Person(gateway.base_url, api_key, model)
    for number in range(8):
        assert person.say(f"{number} " + "tea milk sugar " * 120).text == "Noted."
    asked = [body for body in strict.taken if "You keep the summary" in str(body["messages"][0])]
    assert asked
    assert strict.refused == 3


@pytest.mark.llama
@pytest.mark.parametrize("kind", ["no_jinja", "template"])
def test_a_real_server_that_refuses(
    llama_binary: Path, tiny_model: Path, api_key: str, tmp_path: Path, kind: str
):
    template = tmp_path / "template.jinja"
    template.write_text(GEMMA_TEMPLATE)
    options = {"no_jinja": ["--no-jinja"], "template": ["--chat-template-file", str(template)]}
    request: Body = {
        "model": "tiny",
        "messages": [user("Hello!"), user("Are you there?")],
        "max_tokens": 30,
        "seed": 7,
    }
    probe = {"no_jinja": {"tools": [tool("x", y="string")]}, "template": {}}
    with LlamaServer(llama_binary, tiny_model, tmp_path, *options[kind], slots=1) as llama:
        assert raw(llama.base_url, api_key, **request, **probe[kind]).status_code >= 400
        with GatewayProcess(tmp_path, llama.base_url, "--max-steps", "2") as gateway:
            for _ in range(2):
                answer = raw(gateway.base_url, api_key, **request)
                assert answer.status_code == 200 or answer.json()["error"]["code"] == "no_reply"
