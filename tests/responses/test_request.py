"""Requests of the Responses API, read into what a chat is asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from memgpt_proxy.agent.request import NamedConversation
from memgpt_proxy.api.responses.request import ResponsesRequest, input_of, read_request
from memgpt_proxy.errors import InvalidRequest
from tests.responses.asking import tool

F, G = tool("f", a="integer"), tool("g")
SQL = {"type": "custom", "name": "sql"}
FUNCTION_F = {key: F[key] for key in ("name", "parameters", "strict")}


def read(**fields: Any) -> ResponsesRequest:
    given = {"model": "m", "input": "Hello.", **fields}
    return read_request(given, input_of(given), newest_only=False)


def refused(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as error:
        read(**fields)
    return error.value


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": 0.5},
        {"top_p": 0.9},
        {"user": "ann"},
        {"safety_identifier": "ann"},
        {"prompt_cache_key": "k"},
        {"prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "implicit"}},
        {"service_tier": "flex"},
        {"moderation": {"model": "omni-moderation-latest"}},
        {"top_k": 5},  # which OpenAI does not have: others may
    ],
)
def test_what_chats_have_too_is_forwarded(option: dict[str, Any]) -> None:
    (name,) = option
    assert read(**option).chat.options == option
    assert read(**{name: None}).chat.options == {}


@pytest.mark.parametrize(
    "option",
    [
        {"metadata": {"a": "b"}},
        {"store": False},
        {"truncation": "auto"},
        {"max_tool_calls": 3},
        {"include": ["reasoning.encrypted_content", "message.input_image.image_url"]},
        {"background": False},
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        {"reasoning": {"summary": "auto", "mode": "standard"}},
        {"image": {"context_compression": "auto"}},
        {"parallel_tool_calls": True},  # without tools a backend would refuse it
    ],
)
def test_what_chats_do_not_have_is_not_forwarded(option: dict[str, Any]) -> None:
    request = read(**option)
    assert request.chat.options == {}
    assert request.given[next(iter(option))] == next(iter(option.values()))


@pytest.mark.parametrize(
    ("option", "param"),
    [
        ({"background": True}, "background"),
        ({"background_options": {"completion_window": "2h"}}, "background_options"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"access_programs": {"cyber": "standard"}}, "access_programs"),
        ({"image": {"context_compression": "enabled"}}, "image"),
        ({"reasoning": {"mode": "pro"}}, "reasoning"),
        ({"n": 2}, "n"),
    ],
)
def test_what_cannot_be_done_is_refused(option: dict[str, Any], param: str) -> None:
    error = refused(**option)
    assert (error.status, error.param, error.code) == (400, param, "unsupported_parameter")


@pytest.mark.parametrize(
    ("option", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "input"),
        ({"model": None}, "model"),
        ({"instructions": 3}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "1"}, "max_output_tokens"),
        ({"include": ["everything"]}, "include[0]"),
        ({"stream_options": {}}, "stream_options"),
        ({"store": "yes"}, "store"),
        ({"text": "json"}, "text"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"conversation": {}}, "conversation"),
        ({"conversation": "c", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"reasoning": "high"}, "reasoning"),
        ({"tools": {}}, "tools"),
        ({"tools": [3]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"user": 3}, "user"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_mistake_names_its_parameter(option: dict[str, Any], param: str) -> None:
    error = refused(**option)
    assert (error.status, error.param) == (400, param)


def test_the_length_of_the_answer() -> None:
    request = read(max_output_tokens=7)
    assert request.chat.max_tokens == 7
    assert request.chat.options == {"max_completion_tokens": 7}


def test_effort_goes_along() -> None:
    assert read(reasoning={"effort": "low"}).chat.options == {"reasoning_effort": "low"}


@pytest.mark.parametrize(
    ("option", "asked"),
    [
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"top_logprobs": 0}, {}),
    ],
)
def test_probabilities(option: dict[str, Any], asked: dict[str, Any]) -> None:
    assert read(**option).chat.options == asked


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ({"format": {"type": "text"}}, {}),
        ({"format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"verbosity": "low"}, {"verbosity": "low"}),
    ],
)
def test_forms_of_text(text: dict[str, Any], asked: dict[str, Any]) -> None:
    assert read(text=text).chat.options == asked


def test_a_named_conversation() -> None:
    named = NamedConversation("conv_1", resends=False)
    assert read(conversation="conv_1").conversation == named
    assert read(conversation={"id": "conv_1"}).conversation == named


def test_tools_of_the_clients_own() -> None:
    grammar = {"type": "grammar", "syntax": "regex", "definition": ".*"}
    request = read(tools=[F, {**SQL, "description": "d", "format": grammar}])
    assert request.chat.tools == [
        {"type": "function", "function": FUNCTION_F},
        {
            "type": "custom",
            "custom": {
                "name": "sql",
                "description": "d",
                "format": {
                    "type": "grammar",
                    "grammar": {"syntax": "regex", "definition": ".*"},
                },
            },
        },
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "web_search",
        "web_search_preview",
        "file_search",
        "computer_use_preview",
        "computer",
        "mcp",
        "code_interpreter",
        "image_generation",
        "local_shell",
        "shell",
        "apply_patch",
        "namespace",
        "tool_search",
        "programmatic_tool_calling",
        None,
    ],
)
def test_tools_that_openai_runs_are_refused(kind: str | None) -> None:
    error = refused(tools=[F, {"type": kind}])
    assert (error.status, error.param, error.code) == (400, "tools[1].type", "unsupported_value")
    error = refused(tools=[F], tool_choice={"type": kind})
    assert (error.status, error.param) == (400, "tool_choice.type")


@pytest.mark.parametrize(
    ("choice", "asked", "names"),
    [
        ("auto", "auto", ["f", "g", "sql"]),
        ("none", "none", ["f", "g", "sql"]),
        ("required", "required", ["f", "g", "sql"]),
        (
            {"type": "function", "name": "f"},
            {"type": "function", "function": {"name": "f"}},
            ["f", "g", "sql"],
        ),
        (
            {"type": "custom", "name": "sql"},
            {"type": "custom", "custom": {"name": "sql"}},
            ["f", "g", "sql"],
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "g"}],
            },
            "required",
            ["g"],
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [SQL]}, "auto", ["sql"]),
    ],
)
def test_every_choice_of_tools(choice: Any, asked: Any, names: list[str]) -> None:
    request = read(tools=[F, G, SQL], tool_choice=choice, parallel_tool_calls=False)
    assert request.chat.options == {"tool_choice": asked, "parallel_tool_calls": False}
    assert [each[each["type"]]["name"] for each in request.chat.tools] == names


def test_instructions_come_before_the_input() -> None:
    request = read(
        instructions="Be kind.",
        input=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Hello."},
        ],
    )
    assert request.chat.application == "Be kind.\n\nBe brief."
    assert request.chat.messages == [{"role": "user", "content": "Hello."}]


WORDS = st.sampled_from(
    "message user assistant function function_call function_call_output f custom id x auto "
    "input_text input_image output_text refusal json_schema item_reference allowed_tools".split()
)
NAMES = st.sampled_from(
    "type role content text name call_id arguments output id tools mode format schema url "
    "image_url input refusal effort function".split()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
FIELDS = st.sampled_from(sorted(ResponseCreateParamsBase.__annotations__))


@given(fields=st.dictionaries(FIELDS, VALUES, max_size=4), items=st.lists(VALUES, max_size=4))
def test_whatever_is_sent_is_read_or_refused(fields: dict[str, Any], items: list[Any]) -> None:
    sent = {"model": "m", "input": items, **fields}
    with suppress(InvalidRequest):
        request = read_request(sent, input_of(sent), newest_only=False)
        orjson.dumps([request.chat.options, request.chat.messages, request.chat.tools])


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    assert "nested too deeply" in refused(metadata={"a": deep}).message
