"""What becomes of the fields of a request: what the backend is sent of them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, assistant, data_of, error_of, raw, send, tool, user
from tests.e2e.exact import ask
from tests.support.backend import ScriptedBackend
from tests.support.replies import call, hang, text

HELLO = [user("Hello.")]
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
WEATHER = tool("get_weather", city="string")
CUSTOM = {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}

FORWARDED: dict[str, Any] = {
    "frequency_penalty": -0.5,
    "logit_bias": {"50256": -100},
    "metadata": {"topic": "weather"},
    "moderation": {"model": "omni-moderation-latest"},
    "parallel_tool_calls": False,
    "presence_penalty": 0.25,
    "prompt_cache_key": "k-1",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "safety_identifier": "s-1",
    "seed": 7,
    "service_tier": "flex",
    "store": True,
    "temperature": 0.5,
    "top_p": 0.9,
    "verbosity": "low",
    "x_of_a_vendor": {"deep": [{"er": None}]},
}


@STREAMS
@pytest.mark.parametrize("clean", [False, True], ids=["", "clean"])
@pytest.mark.parametrize("field", FORWARDED)
def test_it_is_forwarded_as_it_came(
    backend: ScriptedBackend, person: Person, field: str, clean: bool, stream: bool
):
    backend.reply(text("{}") if clean else send("Hi."))
    asked = {"response_format": {"type": "json_object"}} if clean else {}
    answer = ask(person, stream, messages=HELLO, extra_body={field: FORWARDED[field]}, **asked)
    assert answer.message["content"] == ("{}" if clean else "Hi.")
    (sent,) = backend.requests
    assert sent.body[field] == FORWARDED[field]


def test_what_was_not_asked_for_is_not_sent(backend: ScriptedBackend, person: Person):
    backend.reply(send("Hi."))
    ask(person, False, messages=HELLO)
    named = {"model", "messages", "tools", "stream"}
    assert backend.requests[0].body.keys() == named


@STREAMS
def test_the_model_and_the_user_are_forwarded(
    backend: ScriptedBackend, person: Person, stream: bool
):
    backend.reply(send("Hi."))
    answer = ask(person, stream, messages=HELLO, user="ann")
    assert (answer.fields["model"], backend.requests[0].body["user"]) == (person.model, "ann")
    assert backend.requests[0].body["model"] == person.model


def test_a_stream_is_asked_for_as_the_client_wants_its_chunks(
    backend: ScriptedBackend, person: Person
):
    backend.reply(send("Hi."))
    options = {"stream_options": {"include_usage": False, "include_obfuscation": False}}
    answer = ask(person, True, messages=HELLO, **options)
    sent = backend.requests[0].body
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert all(chunk.get("usage") is None for chunk in answer.chunks)


def test_a_whole_answer_is_asked_for_whole(backend: ScriptedBackend, person: Person):
    """In each step: the memory function's result goes on to a second."""
    backend.reply(call("recall_storage_search", {"query": "x"}), send("Hi."))
    assert ask(person, False, messages=HELLO).message["content"] == "Hi."
    assert [request.body["stream"] for request in backend.requests] == [False, False]
    assert all("stream_options" not in request.body for request in backend.requests)


@pytest.mark.parametrize(
    "limit", [{"stop": "Hi."}, {"max_tokens": 1}, {"max_completion_tokens": 1}], ids=str
)
def test_what_the_gateway_cuts_off_is_asked_for_as_a_stream(
    backend: ScriptedBackend, person: Person, limit: dict[str, Any]
):
    """So the backend is left once the text is long enough, and writes no more."""
    long = '{"message": "Hi.' + " and more" * 50
    backend.reply(call("send_message", long) + hang())
    ask(person, False, messages=HELLO, **limit)
    assert backend.requests[0].body["stream"] is True
    backend.requests[0].wait_disconnected()


def test_a_backend_that_has_to_begin_soon_is_asked_for_streams(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    """A whole answer begins when it is done: how soon it does would tell nothing."""
    gateway = start_gateway("--first-byte-timeout-seconds", "5")
    backend.reply(send("Hi."))
    assert Person(gateway.base_url, api_key, model).say("Hello.").text == "Hi."
    assert backend.requests[0].body["stream"] is True


PARTS: dict[str, list[dict[str, Any]]] = {
    "text": [
        {"type": "text", "text": "Look.", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "Here."},
    ],
    "image_url": [{"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}}],
    "input_audio": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}],
    "file": [{"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}}],
}


@STREAMS
@pytest.mark.parametrize("kind", PARTS)
def test_content_parts_go_on_as_they_came(
    backend: ScriptedBackend, person: Person, kind: str, stream: bool
):
    backend.reply(send("I see."), send("Bye."))
    asked = {"role": "user", "content": PARTS[kind], "name": "ann"}
    answer = ask(person, stream, messages=[asked])
    ask(person, stream, messages=[asked, assistant(answer.message["content"]), user("Bye.")])
    for sent in backend.requests:
        assert asked in sent.body["messages"]


CALLED: list[dict[str, Any]] = [
    {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls\u2028-l"}},
    {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
]
HISTORY: dict[str, list[dict[str, Any]]] = {
    "tool_calls": [
        {"role": "assistant", "content": None, "tool_calls": CALLED},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a.txt"}]},
        {"role": "tool", "tool_call_id": "c2", "content": "4 °C"},
    ],
    "function_call": [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "17"},
    ],
    "function without result": [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": None},
        user("And?"),
    ],
    "refusal": [
        {"role": "assistant", "content": None, "refusal": "No."},
        user("Why?"),
    ],
    "refusal part": [
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        user("Why?"),
    ],
    "audio": [
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        user("Again?"),
    ],
}


@STREAMS
@pytest.mark.parametrize("kind", HISTORY)
def test_messages_of_all_kinds_go_on_as_they_came(
    backend: ScriptedBackend, person: Person, kind: str, stream: bool
):
    backend.reply(send("Fine."))
    ask(person, stream, messages=[*HELLO, *HISTORY[kind]])
    sent = backend.requests[0].body["messages"]
    assert [message for message in sent if message in HISTORY[kind]] == HISTORY[kind]


@STREAMS
def test_system_and_developer_messages_are_the_applications(
    backend: ScriptedBackend, person: Person, stream: bool
):
    backend.reply(send("Arr."))
    leading = [
        {"role": "system", "content": "Be a pirate."},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
    ]
    later = {"role": "system", "content": "It is late."}
    ask(person, stream, messages=[*leading, *HELLO, assistant("Ahoy."), later, user("So?")])
    first, *others = backend.requests[0].body["messages"]
    assert "# Application\nBe a pirate.\n\nBe brief." in first["content"]
    assert all(message["role"] != "system" for message in others)
    told = [message["content"] for message in others]
    at = told.index("System Alert: Message from the application:\nIt is late.")
    assert told.index("Ahoy.") < at < told.index("So?")


@STREAMS
def test_line_separators_in_json_are_text(backend: ScriptedBackend, person: Person, stream: bool):
    odd = "a\u2028b\u2029c\u0085d\r\ne"
    backend.reply(send(odd), text(json.dumps({"a": odd}, ensure_ascii=False)))
    assert ask(person, stream, messages=[user(odd)]).message["content"] == odd
    assert backend.requests[0].body["messages"][-1]["content"] == odd
    asked = {"response_format": {"type": "json_object"}}
    answer = ask(person, stream, messages=[user(odd)], **asked)
    assert json.loads(answer.message["content"]) == {"a": odd}


@STREAMS
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools_are_those_that_are_offered(
    backend: ScriptedBackend, person: Person, mode: str, stream: bool
):
    backend.reply(call("shell", "ls"))
    allowed = [{"type": "custom", "custom": {"name": "shell"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
    ask(person, stream, messages=HELLO, tools=[WEATHER, CUSTOM], tool_choice=choice)
    sent = backend.requests[0].body
    assert CUSTOM in sent["tools"]
    assert WEATHER not in sent["tools"]
    assert sent.get("tool_choice") == ("required" if mode == "required" else None)


@STREAMS
def test_a_strict_function_stays_strict(backend: ScriptedBackend, person: Person, stream: bool):
    strict = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
    backend.reply(send("Hi."))
    ask(person, stream, messages=HELLO, tools=[strict])
    assert backend.requests[0].body["tools"][-1] == strict


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        "tool_choice",
    ),
    ({"functions": "f"}, "functions"),
    ({"functions": [7]}, "functions[0]"),
    ({"functions": [{"description": "x"}]}, "functions[0].name"),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "include_usage"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=str)
def test_what_our_functions_would_hide_from_the_backend_is_checked_here(
    backend: ScriptedBackend, person: Person, fields: dict[str, Any], param: str
):
    response = raw(person.base_url, person.api_key, model=person.model, messages=HELLO, **fields)
    assert (response.status_code, error_of(response)["param"]) == (400, param)
    assert backend.requests == []


@STREAMS
def test_the_sdks_parsing_of_a_response_format_works(
    backend: ScriptedBackend, person: Person, stream: bool
):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form: Any = {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": schema, "strict": True},
    }
    backend.reply(text('{"a": 1}'))
    messages: Any = HELLO
    with openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client:
        create = client.chat.completions
        if stream:
            with create.stream(
                model=person.model, messages=messages, response_format=form
            ) as events:
                content = events.get_final_completion().choices[0].message.content
        else:
            answer = create.create(model=person.model, messages=messages, response_format=form)
            content = answer.choices[0].message.content
    assert content == '{"a": 1}'


@pytest.mark.parametrize("clean", [False, True], ids=["", "clean"])
def test_the_usage_chunk_has_no_choices(backend: ScriptedBackend, person: Person, clean: bool):
    backend.reply(text("{}") if clean else send("Hi."))
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}} if clean else {}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    response = raw(
        person.base_url, person.api_key, model=person.model, messages=HELLO, **asked, **options
    )
    *chunks, usage, done = data_of(response.content)
    assert done == "[DONE]"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 110)
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@STREAMS
def test_a_forced_custom_tool_is_offered_alone(
    backend: ScriptedBackend, person: Person, stream: bool
):
    choice = {"type": "custom", "custom": {"name": "shell"}}
    backend.reply(call("archival_storage_search", {"query": "x"}), call("shell", "ls"))
    ask(person, stream, messages=HELLO, tools=[WEATHER, CUSTOM], tool_choice=choice)
    for sent in backend.requests:
        assert sent.body["tools"][-1] == CUSTOM
        assert WEATHER not in sent.body["tools"]
        assert sent.body["tool_choice"] == "required"
