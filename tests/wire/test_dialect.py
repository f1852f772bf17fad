"""Requests written for backends that take them otherwise: nothing lost, everything in order."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.traits import ORDINARY, Trait
from memgpt_proxy.wire.content import ContentGate
from memgpt_proxy.wire.dialect import written

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "get_weather", "description": "Of a city.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": WEATHER}]


def called(*ids: str, content: str | None = None) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": '{"city": "Kyiv"}'}
    calls = [{"id": id, "type": "function", "function": function} for id in ids]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def result(id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def asked(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [*messages], **fields}


def write(request: dict[str, Any], *traits: Trait) -> dict[str, Any]:
    before = json.dumps(request)
    after = written(request, frozenset(traits))
    assert json.dumps(request) == before, "what was given is left as it was"
    return after


def test_tools_are_described_and_called_in_text() -> None:
    after = write(
        asked(
            said("system", "Be kind."),
            said("user", "Weather?"),
            called("a", content="Let me look."),
            result("a", "rain"),
            tools=TOOLS,
            tool_choice="auto",
            parallel_tool_calls=False,
        ),
        Trait.NO_TOOLS,
    )
    assert after.keys() == {"model", "messages"}
    system, user, assistant, told = after["messages"]
    assert system["content"].startswith("Be kind.\n\n")
    assert json.dumps(WEATHER, separators=(",", ":")) in system["content"]
    assert user == said("user", "Weather?")
    assert assistant.keys() == {"role", "content"}
    assert told == said("user", "Result of get_weather:\nrain")
    gate = ContentGate(["get_weather"])
    shown = gate.feed(assistant["content"])
    rest, [call] = gate.close()
    assert (shown + rest).strip() == "Let me look."
    assert (call.name, call.arguments) == ("get_weather", {"city": "Kyiv"})


TIME = {"type": "function", "function": {"name": "get_time"}}


def told(choice: Any, *traits: Trait, **fields: Any) -> dict[str, Any]:
    """A request with two tools and a choice among them, written in text."""
    request = asked(said("user", "x"), tools=[*TOOLS, TIME], tool_choice=choice, **fields)
    return write(request, Trait.NO_TOOLS, *traits)


def names(form: Any) -> set[str]:
    """The functions that a response format forces to be called."""
    items = form["json_schema"]["schema"]["properties"]["tool_calls"]["items"]
    calls = items.get("anyOf", [items])
    return {name for call in calls for name in call["properties"]["name"]["enum"]}


def test_a_choice_among_tools_is_told_in_text() -> None:
    def words(choice: Any) -> str:
        return str(told(choice)["messages"][0]["content"])

    assert "have to" not in words("auto")
    assert "get_time" in words("auto")
    assert "have to call one of them" in words("required")
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert "have to call get_weather" in words(named)
    assert "get_time" not in words(named)
    assert words("none") == "x"
    allowed = {
        "mode": "required",
        "tools": [{"type": "function", "function": {"name": "get_time"}}],
    }
    assert "have to call get_time" in words({"type": "allowed_tools", "allowed_tools": allowed})


def test_a_call_that_has_to_come_is_forced_by_a_schema() -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert names(told("required")["response_format"]) == {"get_weather", "get_time"}
    assert names(told(named)["response_format"]) == {"get_weather"}
    for choice in ("auto", "none"):
        assert "response_format" not in told(choice), "plain text may be the answer"
    assert "response_format" not in told("required", Trait.NO_JSON_SCHEMA)
    deprecated = asked(functions=[WEATHER, TIME["function"]], function_call={"name": "get_time"})
    assert names(write(deprecated, Trait.NO_TOOLS)["response_format"]) == {"get_time"}


def test_a_model_that_speaks_by_a_call_is_held_to_calls() -> None:
    request = asked(said("user", "x"), called("a"), result("a", "rain"), tools=TOOLS)
    after = written(request, frozenset({Trait.NO_TOOLS}), by_call=True)
    assert names(after["response_format"]) == {"get_weather"}
    system, _, assistant, _ = after["messages"]
    assert "one JSON object" in system["content"]
    call = {"name": "get_weather", "arguments": {"city": "Kyiv"}}
    assert json.loads(assistant["content"]) == {"tool_calls": [call]}, "as it is to write it now"
    free = written(request, frozenset({Trait.NO_TOOLS, Trait.NO_JSON_SCHEMA}), by_call=True)
    assert "response_format" not in free
    assert json.loads(free["messages"][2]["content"]) == call


def test_an_ordinary_backend_is_forced_to_nothing() -> None:
    request = asked(said("user", "x"), tools=TOOLS, tool_choice="required")
    assert written(request, ORDINARY, by_call=True) == request


def test_one_call_only_where_no_more_are_wanted() -> None:
    form = told("required", parallel_tool_calls=False)["response_format"]
    assert form["json_schema"]["schema"]["properties"]["tool_calls"]["maxItems"] == 1


def test_a_schema_that_the_client_asks_for_may_be_met_or_a_function_called() -> None:
    own = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"name": "c", "strict": True, "schema": own}}
    after = told("auto", response_format=form)["response_format"]
    told_schema = after["json_schema"]
    assert (told_schema["name"], told_schema["strict"]) == ("c", True)
    first, second = told_schema["schema"]["anyOf"]
    assert first == own
    assert second["required"] == ["tool_calls"]
    for untouched in (told("none", response_format=form), write(asked(response_format=form))):
        assert untouched["response_format"] == form
    assert told("auto", Trait.NO_JSON_SCHEMA, response_format=form)["response_format"] == form
    any_object = {"type": "json_object"}
    assert told("auto", response_format=any_object)["response_format"] == any_object
    assert names(told("required", response_format=form)["response_format"]) == {
        "get_weather",
        "get_time",
    }


def test_tools_are_offered_as_functions_one_call_to_a_message() -> None:
    after = write(
        asked(
            said("user", "Weather?"),
            called("a", "b", content="Both."),
            result("a", "rain"),
            result("b", "sun"),
            said("assistant", "Mixed."),
            tools=TOOLS,
            tool_choice="required",
        ),
        Trait.FUNCTIONS,
    )
    call = {"name": "get_weather", "arguments": '{"city": "Kyiv"}'}
    assert after["messages"] == [
        said("user", "Weather?"),
        {"role": "assistant", "content": "Both.", "function_call": call},
        {"role": "function", "name": "get_weather", "content": "rain"},
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "get_weather", "content": "sun"},
        said("assistant", "Mixed."),
    ]
    assert after["functions"] == [WEATHER]
    assert after["function_call"] == {"name": "get_weather"}
    assert "tools" not in after
    assert "tool_choice" not in after


def test_the_system_message_stands_in_the_users() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    texts = write(asked(said("system", "Be kind."), said("user", "Hi")), Trait.NO_SYSTEM)
    assert texts["messages"] == [said("user", "Be kind.\n\nHi")]
    parts = write(asked(said("system", "Be kind."), said("user", [image])), Trait.NO_SYSTEM)
    assert parts["messages"] == [said("user", [{"type": "text", "text": "Be kind."}, image])]


def test_neighbours_of_one_role_are_merged() -> None:
    after = write(
        asked(
            said("system", "S"),
            said("assistant", "1"),
            said("user", "2"),
            said("system", "3"),
            said("user", "4"),
        ),
        Trait.ALTERNATING,
    )
    assert [m["role"] for m in after["messages"]] == ["system", "user", "assistant", "user"]
    assert after["messages"][-1]["content"] == "2\n\n3\n\n4"


def test_calls_stay_beside_their_results_where_tools_are_known() -> None:
    messages = (said("user", "x"), called("a"), result("a", "r"), said("assistant", "y"))
    assert write(asked(*messages), Trait.ALTERNATING)["messages"] == [*messages]


def test_options_by_their_other_names() -> None:
    request = asked(
        said("developer", "D"),
        max_completion_tokens=9,
        stream_options={},
        parallel_tool_calls=True,
        tools=TOOLS,
        tool_choice="auto",
    )
    assert write(request)["max_completion_tokens"] == 9
    after = write(
        request,
        Trait.MAX_TOKENS,
        Trait.NO_DEVELOPER,
        Trait.NO_STREAM_OPTIONS,
        Trait.NO_PARALLEL_TOOL_CALLS,
        Trait.NO_TOOL_CHOICE,
    )
    assert after == asked(said("system", "D"), max_tokens=9, tools=TOOLS)
    reverse = write(asked(max_tokens=7, max_completion_tokens=9), Trait.MAX_COMPLETION_TOKENS)
    assert reverse == asked(max_completion_tokens=7)


def test_an_answer_comes_as_the_backend_can_deliver_it() -> None:
    whole, streamed = asked(stream=False), asked(stream=True, stream_options={"x": 1})
    usage = {"include_usage": True}
    assert write(whole, Trait.ONLY_STREAM) == asked(stream=True, stream_options=usage)
    assert write(whole, Trait.ONLY_STREAM, Trait.NO_STREAM_OPTIONS) == asked(stream=True)
    assert write(streamed, Trait.ONLY_STREAM) == streamed
    assert write(streamed, Trait.NO_STREAM) == whole
    assert write(whole, Trait.NO_STREAM) == whole
    assert write(whole) == whole


def test_most_sounds_cannot_be_streamed() -> None:
    for fields in ({"audio": {"voice": "ash"}}, {"modalities": ["text", "audio"]}):
        request = asked(stream=False, **fields)
        assert write(request, Trait.ONLY_STREAM) == request


def test_a_choice_of_no_tool_is_kept_without_the_choice() -> None:
    assert write(asked(tools=TOOLS, tool_choice="none"), Trait.NO_TOOL_CHOICE) == asked()


TEXTS = st.integers(0, 10**9).map(lambda n: f"word{n}.")


def test_reasoning_goes_back_where_it_is_wanted() -> None:
    thought = {**called("a"), "reasoning_content": "Hm.", "reasoning_details": [{"text": "Hm."}]}
    spoken = said("assistant", "Hi")
    request = asked(said("user", "U"), thought, result("a", "R"), spoken)
    assert write(request)["messages"] == request["messages"]
    always = write(request, Trait.REASONING)["messages"]
    assert always == [*request["messages"][:3], {**spoken, "reasoning_content": " "}]
    never = write(request, Trait.NO_REASONING)["messages"]
    assert never == [said("user", "U"), called("a"), result("a", "R"), spoken]
    in_text = write(request, Trait.NO_TOOLS)["messages"]
    assert [sorted(message) for message in in_text] == [["content", "role"]] * 4


NAMELESS: list[dict[str, Any]] = [
    {"tool_calls": [{"id": "a", "type": "function"}]},
    {"tool_calls": [{"id": "a", "type": "function", "function": {}}]},
    {"tool_calls": [{"id": "a", "type": "function", "function": {"name": 3, "arguments": "{}"}}]},
    {"tool_calls": [{"id": "a", "type": "custom", "custom": "f"}]},
    {"function_call": {}},
    {"function_call": "auto"},
    {"function_call": {"name": None, "arguments": "{}"}},
]


@pytest.mark.parametrize("trait", [Trait.NO_TOOLS, Trait.FUNCTIONS])
@pytest.mark.parametrize("call", NAMELESS, ids=str)
def test_a_call_without_a_name_is_written_all_the_same(call: dict[str, Any], trait: Trait) -> None:
    """What to say of it is the backend's."""
    message = {**said("assistant", "Let me look."), **call}
    told = result("a", "rain") if "tool_calls" in call else said("function", "rain")
    after = write(asked(said("user", "x"), message, told, said("user", "And?")), trait)
    texts = [m["content"] for m in after["messages"]]
    looked, rain = texts[1:3]
    assert (texts[0], texts[3]) == ("x", "And?")
    assert looked.startswith("Let me look.")
    assert rain.endswith("rain")


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("trait", [Trait.NO_TOOLS, Trait.FUNCTIONS])
@pytest.mark.parametrize(
    "tool",
    [
        {"function": "s"},
        {"type": "function", "function": {"name": None}},
        {"type": "custom", "custom": {"format": {}}},
        {"type": "web_search"},
    ],
    ids=str,
)
def test_a_tool_without_a_name_is_left_out(tool: dict[str, Any], trait: Trait, choice: str) -> None:
    after = write(asked(said("user", "x"), tools=[tool], tool_choice=choice), trait)
    assert after["messages"] == [said("user", "x")]
    assert not after.get("functions")


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 8))):
        role = draw(st.sampled_from(["system", "developer", "user", "assistant", "calls"]))
        content: Any = draw(TEXTS)
        if role == "calls":
            ids = [f"c{len(messages)}-{n}" for n in range(draw(st.integers(1, 3)))]
            messages += [called(*ids, content=content), *(result(id, draw(TEXTS)) for id in ids)]
            continue
        if role == "user" and draw(st.booleans()):
            content = [{"type": "text", "text": content}]
        messages.append(said(role, content))
    return messages


def words(messages: list[dict[str, Any]]) -> list[str]:
    """The texts in their order."""
    texts = (m["content"] for m in messages)
    return re.findall(r"word\d+", json.dumps([*texts]))


@given(conversations(), st.sets(st.sampled_from([*Trait])))
def test_no_text_is_lost_and_the_order_is_kept(
    messages: list[dict[str, Any]], traits: set[Trait]
) -> None:
    after = write(asked(*messages, tools=TOOLS), *traits)
    assert words(after["messages"]) == words(messages)


@given(conversations())
def test_user_and_assistant_take_turns(messages: list[dict[str, Any]]) -> None:
    after = write(asked(*messages), Trait.NO_TOOLS, Trait.NO_SYSTEM, Trait.ALTERNATING)
    roles = [message["role"] for message in after["messages"]]
    assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
    assert not any({"tool_calls", "function_call"} & m.keys() for m in after["messages"])


@given(conversations())
def test_an_ordinary_backend_gets_what_was_asked(messages: list[dict[str, Any]]) -> None:
    request = asked(*messages, tools=TOOLS)
    assert written(request, ORDINARY) == request
