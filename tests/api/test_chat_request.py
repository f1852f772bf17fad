"""Reading a chat-completions request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.api.chat_request import ChatRequest, check_messages, parse_chat_request
from memgpt_proxy.errors import InvalidRequest

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


def read(body: bytes, *, newest_only: bool = False) -> ChatRequest:
    request = parse_chat_request(body, newest_only=newest_only)
    check_messages(request)
    return request


def parsed(**fields: Any) -> ChatRequest:
    return read(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


MISTAKES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"messages": None}, "messages", "missing_required_parameter"),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": "x"}, "messages", "invalid_type"),
    ({"messages": [1]}, "messages[0]", "invalid_type"),
    ({"messages": [{"role": {}}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
    ({"model": None}, "model", None),
    ({"model": 1}, "model", "invalid_type"),
    ({"model": "m" * 513}, "model", "string_above_max_length"),
    ({"stream": "true"}, "stream", "invalid_type"),
    ({"user": 1}, "user", "invalid_type"),
    ({"tools": {}}, "tools", "invalid_type"),
    ({"stop": 1}, "stop", "invalid_type"),
    ({"stop": ["a"] * 129}, "stop", "array_above_max_length"),
    ({"stop": ["a", "b" * 1025]}, "stop", "string_above_max_length"),
    ({"max_tokens": True}, "max_tokens", "invalid_type"),
    ({"max_completion_tokens": "x"}, "max_completion_tokens", "invalid_type"),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"response_format": []}, "response_format", "invalid_type"),
    ({"stream_options": {}}, "stream_options", None),
    (
        {"messages": [*HELLO, {"role": "tool", "content": "x"}]},
        "messages[1].tool_call_id",
        "missing_required_parameter",
    ),
]


@pytest.mark.parametrize(("fields", "param", "code"), MISTAKES, ids=str)
def test_a_mistake_names_its_parameter(fields: dict[str, Any], param: str, code: str | None):
    with pytest.raises(InvalidRequest) as refused:
        parsed(**fields)
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "x", "x": nested(300)}]}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": nested(300)}}]},
        {"response_format": {"type": "json_schema", "schema": nested(300)}},
        {"unknown": nested(300)},
        {"unknown": nested(300), "long": "a" * 20_000},
    ],
    ids=["messages", "tools", "response_format", "unknown", "long"],
)
def test_what_could_not_be_written_again_is_refused(fields: dict[str, Any]):
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        parsed(**fields)


def test_depth_within_reason_is_taken():
    assert parsed(unknown=nested(150)).options["unknown"] == nested(150)
    long = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}] * 500
    assert len(parsed(messages=long).messages) == 500


@given(st.binary())
def test_any_bytes_are_a_request_or_an_invalid_one(body: bytes):
    with pytest.raises(InvalidRequest):
        read(body)


def test_leading_instructions_are_the_applications():
    system = {"role": "system", "content": "One."}
    developer = {"role": "developer", "content": [{"type": "text", "text": "Two."}]}
    late = {"role": "system", "content": "Three."}
    request = parsed(messages=[system, developer, *HELLO, late])
    assert request.application == "One.\n\nTwo."
    assert request.messages == [*HELLO, late]


def test_instructions_alone_are_a_message_too():
    request = parsed(messages=[{"role": "system", "content": "Greet the user."}])
    assert request.application == ""
    assert [message["content"] for message in request.messages] == ["Greet the user."]


def test_every_other_field_is_kept_as_it_came():
    request = parsed(temperature=0.5, user="ann", custom={"a": [1]}, tool_choice="auto")
    assert request.options["temperature"] == 0.5
    assert request.options["custom"] == {"a": [1]}
    assert request.options["user"] == request.user == "ann"


TOOLS = [{"type": "function", "function": {"name": "t"}}]
NAMED = {"type": "function", "function": {"name": "t"}}


@pytest.mark.parametrize(
    ("fields", "clean"),
    [
        ({}, False),
        ({"n": 1}, False),
        ({"n": 2}, True),
        ({"logprobs": True}, True),
        ({"logprobs": False}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, True),
        ({"tool_choice": "auto"}, False),
        ({"tool_choice": "none"}, False),
        ({"tool_choice": "required", "tools": TOOLS}, False),
        ({"tool_choice": NAMED, "tools": TOOLS}, False),
        ({"tool_choice": "any", "tools": TOOLS}, True),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, False),
        ({"tools": [{"type": "browser_search"}]}, True),
        ({"functions": [{"name": "f"}]}, True),
        ({"audio": {"voice": "ash", "format": "wav"}}, True),
        ({"modalities": ["text", "audio"]}, True),
        ({"modalities": ["text"]}, False),
        ({"prediction": {"type": "content", "content": "x"}}, True),
        ({"web_search_options": {}}, True),
    ],
    ids=str,
)
def test_what_has_to_see_the_answer_itself_is_clean(fields: dict[str, Any], clean: bool):
    assert parsed(**fields).clean is clean


@pytest.mark.parametrize(
    ("fields", "alone"),
    [
        ({"n": 2}, False),
        ({"functions": [{"name": "f"}]}, False),
        ({"functions": [{"name": "f"}], "function_call": "none"}, False),
        ({"functions": [{"name": "f"}], "function_call": {"name": "f"}}, True),
        ({"functions": [{"name": "f"}], "tools": TOOLS}, True),
        ({"tool_choice": "any", "tools": TOOLS}, True),
        ({"prediction": {"type": "content", "content": "x"}}, True),
        ({"web_search_options": {}}, True),
    ],
    ids=str,
)
def test_what_takes_no_functions_beside_it(fields: dict[str, Any], alone: bool):
    assert parsed(**fields).alone is alone


@pytest.mark.parametrize(
    ("fields", "whole"),
    [
        ({"audio": {"voice": "ash", "format": "wav"}}, True),
        ({"audio": {"voice": "ash", "format": "pcm16"}, "stream": True}, False),
        ({}, True),
        ({"stream": True}, False),
        ({"stop": "x"}, False),
        ({"max_tokens": 9}, False),
        ({"max_completion_tokens": 9}, False),
        ({"max_tokens": 9, "stop": "x", "logprobs": True}, True),
        ({"max_tokens": 9, "stop": "x", "logprobs": True, "stream": True}, False),
    ],
    ids=str,
)
def test_it_is_asked_for_whole_where_nobody_hears_a_part(fields: dict[str, Any], whole: bool):
    """Where we cut the text a stream can be left; a clean step is cut by the backend."""
    assert parsed(**fields).whole is whole


RESULTS = [{"role": "tool", "tool_call_id": id, "content": "x"} for id in ("c1", "c2")]
SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("messages", [RESULTS, [SYSTEM, *RESULTS], [*RESULTS, *HELLO]], ids=str)
def test_newest_messages_may_begin_with_results(messages: list[dict[str, Any]]):
    body = json.dumps({"model": "m", "messages": messages}).encode()
    messages_read = read(body, newest_only=True).messages
    assert messages_read == [message for message in messages if message != SYSTEM]
    with pytest.raises(InvalidRequest, match="must follow a message with 'tool_calls'"):
        read(body)


@pytest.mark.parametrize("before", [HELLO, [*HELLO, SYSTEM], [*RESULTS, SYSTEM]], ids=str)
def test_results_further_on_follow_their_calls(before: list[dict[str, Any]]):
    body = json.dumps({"model": "m", "messages": [*before, RESULTS[0]]}).encode()
    with pytest.raises(InvalidRequest, match="must follow a message with 'tool_calls'"):
        read(body, newest_only=True)


@pytest.mark.parametrize(
    ("stop", "texts"),
    [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"]), ([], []), ([*"abcde"], [*"abcde"])],
)
def test_stop_is_a_text_or_several(stop: Any, texts: list[str]):
    assert list(parsed(stop=stop).stop) == texts


def test_the_newer_name_of_the_limit_wins():
    assert parsed(max_tokens=9, max_completion_tokens=5).max_tokens == 5
    assert parsed(max_tokens=9).max_tokens == 9
    assert parsed().max_tokens is None


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_for_the_backend_to_judge(limit: int):
    request = parsed(max_tokens=limit)
    assert request.max_tokens is None
    assert request.options["max_tokens"] == limit


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"model": "\xff"}', "not valid UTF-8 (byte 11)."),
        (b'{"model": "\xed\xa0\x80"}', "not valid UTF-8 (byte 11)."),
        (b'{"model": m}', "not valid JSON: "),
    ],
)
def test_what_is_wrong_with_a_body_is_told(body: bytes, told: str):
    with pytest.raises(InvalidRequest) as refused:
        parse_chat_request(body)
    assert told in str(refused.value)
