"""The requests of a turn's steps: our functions beside the client's, its options kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memgpt_proxy.agent.main_context import Head, MainContext
from memgpt_proxy.agent.steps import StepRequests, speaks_by_content
from memgpt_proxy.config import ReplyMode
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.stores.records import Counts, NodeId, QueueState, WorkingContext
from memgpt_proxy.wire.tool_choice import tool_name
from tests.agent.build import COUNTER, request, user

MEMORY = [
    "working_context_append",
    "working_context_replace",
    "archival_storage_insert",
    "archival_storage_search",
    "recall_storage_search",
    "recall_storage_search_date",
]
OURS = ["send_message", *MEMORY]


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


WEATHER = tool("get_weather")
CUSTOM = {"type": "custom", "custom": {"name": "shell"}}


def context() -> MainContext:
    state = QueueState(NodeId("m"), 0, "", WorkingContext(0, ""), Counts(0, 0))
    composed = MainContext(Head("You are MemGPT.", "", 0), Queue(state, []), COUNTER)
    composed.add(user("hi"))
    return composed


def body(
    *,
    by_content: bool = False,
    remembers: bool = True,
    last: bool = False,
    aside: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    asked = request(user("hi"), **changes)
    steps = StepRequests(asked, by_content=by_content, remembers=remembers)
    written: dict[str, Any] = json.loads(steps.body(context(), last=last, aside=aside))
    return written


def names(written: dict[str, Any]) -> list[str]:
    return [each["function"]["name"] for each in written.get("tools", [])]


def test_a_plain_request() -> None:
    written = body()
    assert names(written) == OURS
    assert [m["role"] for m in written["messages"]] == ["system", "user"]
    assert {k: v for k, v in written.items() if k not in ("messages", "tools")} == {
        "model": "a-model",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_function_takes_a_heartbeat() -> None:
    for each in body()["tools"]:
        assert each["type"] == "function"
        properties = each["function"]["parameters"]["properties"]
        assert properties["request_heartbeat"]["type"] == "boolean"
        assert "request_heartbeat" not in each["function"]["parameters"]["required"]


def test_the_arguments_are_those_of_the_design() -> None:
    parameters = {t["function"]["name"]: t["function"]["parameters"] for t in body()["tools"]}
    own = {
        name: [p for p in declared["properties"] if p != "request_heartbeat"]
        for name, declared in parameters.items()
    }
    assert own == {
        "send_message": ["message"],
        "working_context_append": ["content"],
        "working_context_replace": ["old_content", "new_content"],
        "archival_storage_insert": ["content"],
        "archival_storage_search": ["query", "page"],
        "recall_storage_search": ["query", "page"],
        "recall_storage_search_date": ["start_date", "end_date", "page"],
    }
    assert all("page" not in declared["required"] for declared in parameters.values())


def test_the_clients_tools_come_behind_ours_as_they_are() -> None:
    strict = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
    written = body(tools=[strict])
    assert names(written) == [*OURS, "get_weather"]
    assert written["tools"][-1] == strict


def test_a_clients_tool_keeps_its_name() -> None:
    theirs = tool("archival_storage_search")
    asked = request(tools=[theirs])
    steps = StepRequests(asked, by_content=False)
    written = json.loads(steps.body(context(), last=False))
    assert names(written).count("archival_storage_search") == 1
    assert written["tools"][-1] == theirs
    assert steps.offer.is_theirs("archival_storage_search")
    assert "archival_storage_search" not in steps.offer.ours


def test_tools_that_are_not_to_be_called_are_not_offered() -> None:
    steps = StepRequests(
        request(tools=[WEATHER], options={"tool_choice": "none"}), by_content=False
    )
    written = json.loads(steps.body(context(), last=False))
    assert names(written) == OURS
    assert "tool_choice" not in written
    assert not steps.offer.is_theirs("get_weather")


def test_auto_leaves_the_choice() -> None:
    written = body(tools=[WEATHER], options={"tool_choice": "auto", "parallel_tool_calls": False})
    assert names(written)[-1] == "get_weather"
    assert written.get("tool_choice", "auto") == "auto"
    assert written["parallel_tool_calls"] is False


def test_in_the_last_step_there_is_only_the_reply() -> None:
    assert names(body(last=True, tools=[WEATHER])) == ["send_message"]


def test_the_last_step_of_a_model_that_answers_in_content() -> None:
    written = body(last=True, by_content=True, tools=[WEATHER])
    assert written["tool_choice"] == "none"
    assert "send_message" not in names(written)


def test_without_send_message() -> None:
    assert names(body(by_content=True)) == MEMORY


def test_without_memory_there_are_only_the_clients_tools() -> None:
    assert names(body(by_content=True, remembers=False, tools=[WEATHER])) == ["get_weather"]
    bare = body(by_content=True, remembers=False, last=True)
    assert "tools" not in bare
    assert "tool_choice" not in bare


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_visible_texts_limit_leaves_room_for_thoughts_and_calls(name: str) -> None:
    assert body(options={name: 100})[name] > 1000
    assert body(options={name: None})[name] is None


def test_a_limit_beyond_all_numbers_can_be_written() -> None:
    assert body(options={"max_tokens": 2**64 - 1})["max_tokens"] > 2**50


def test_what_is_kept_here_is_not_forwarded() -> None:
    written = body(options={"stop": ["x"], "n": 1, "tool_choice": "auto"})
    assert not {"stop", "n", "tool_choice"} & set(written)


def test_unknown_fields_are_forwarded() -> None:
    options = {
        "temperature": 0.2,
        "seed": 7,
        "user": "u1",
        "metadata": {"a": [1, None]},
        "reasoning_effort": "low",
        "x_of_a_vendor": {"deep": {"er": True}},
    }
    written = body(options=options)
    assert {name: written[name] for name in options} == options


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
def test_usage_is_always_asked_for(given: Any, sent: dict[str, bool]) -> None:
    assert body(options={"stream_options": given})["stream_options"] == sent


CLEAN: dict[str, Any] = {
    "stop": ["x"],
    "n": 2,
    "max_tokens": 100,
    "tool_choice": "required",
    "logprobs": True,
}


def test_a_clean_step_has_memory_functions_beside_what_is_asked_for() -> None:
    written = body(clean=True, tools=[WEATHER], options=CLEAN)
    assert names(written) == [*MEMORY, "get_weather"]
    assert {name: written[name] for name in CLEAN} == CLEAN


@pytest.mark.parametrize("how", [{"last": True}, {"remembers": False}], ids=str)
def test_a_plain_clean_step_is_the_clients_own(how: dict[str, Any]) -> None:
    written = body(clean=True, tools=[WEATHER], options=CLEAN, **how)
    assert names(written) == ["get_weather"]
    assert {name: written[name] for name in CLEAN} == CLEAN


@pytest.mark.parametrize("clean", [False, True])
def test_a_required_tool_is_one_of_the_clients(clean: bool) -> None:
    options = {"tool_choice": "required"}
    written = body(clean=clean, tools=[WEATHER, CUSTOM], options=options)
    assert [tool_name(each) for each in written["tools"]] == [*MEMORY, "get_weather", "shell"]
    assert written["tool_choice"] == "required"
    written = body(clean=clean, tools=[WEATHER, CUSTOM], options=options, last=True)
    assert (written["tools"], written["tool_choice"]) == ([WEATHER, CUSTOM], "required")


FORCED: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_weather"}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [WEATHER]}},
]


@pytest.mark.parametrize("choice", FORCED, ids=lambda choice: choice["type"])
def test_a_forced_tool_is_the_only_one_of_the_clients_that_is_offered(choice: Any) -> None:
    tools, options = [WEATHER, CUSTOM], {"tool_choice": choice}
    written = body(tools=tools, options=options)
    assert names(written) == [*MEMORY, "get_weather"]
    assert written["tool_choice"] == "required"
    written = body(tools=tools, options=options, last=True)
    assert (written["tools"], written["tool_choice"]) == (tools, choice)


def test_allowed_tools_are_those_that_are_offered() -> None:
    allowed = {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "shell"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    written = body(tools=[WEATHER, CUSTOM], options={"tool_choice": choice})
    assert [tool_name(each) for each in written["tools"]] == [*OURS, "shell"]
    assert "tool_choice" not in written


def test_tools_that_are_not_to_be_called_stay_where_only_the_answer_is_left() -> None:
    options = {"tool_choice": "none", "n": 2}
    assert names(body(clean=True, tools=[WEATHER], options=options)) == MEMORY
    written = body(clean=True, tools=[WEATHER], options=options, last=True)
    assert (written["tools"], written["tool_choice"]) == ([WEATHER], "none")


def test_legacy_functions_stand_beside_ours() -> None:
    function = WEATHER["function"]
    written = body(clean=True, options={"functions": [function], "function_call": "auto"})
    assert [each["name"] for each in written["functions"]] == [*MEMORY, "get_weather"]
    assert "tools" not in written
    assert "function_call" not in written
    plain = body(clean=True, options={"functions": [function], "function_call": "auto"}, last=True)
    assert (plain["functions"], plain["function_call"]) == ([function], "auto")


def test_a_step_aside_has_room_for_calls_and_nothing_else() -> None:
    options = {**CLEAN, "response_format": {"type": "json_object"}, "seed": 7}
    written = body(clean=True, tools=[WEATHER], options=options, aside=True)
    assert names(written) == MEMORY
    assert (written["max_tokens"], written["seed"]) == (100 + 1024, 7)
    assert not {"stop", "n", "logprobs", "tool_choice", "response_format"} & written.keys()


def test_what_cannot_be_streamed_is_asked_for_whole() -> None:
    written = body(clean=True, whole=True, options={"audio": {"format": "wav", "voice": "ash"}})
    assert written["stream"] is False
    assert "stream_options" not in written


def test_tools_of_other_kinds_are_forwarded() -> None:
    written = body(clean=True, tools=[CUSTOM, WEATHER])
    assert written["tools"][-2:] == [CUSTOM, WEATHER]


@pytest.mark.parametrize(
    ("mode", "tools", "expected"),
    [
        (ReplyMode.AUTO, [], False),
        (ReplyMode.FUNCTION, [WEATHER], False),
        (ReplyMode.CONTENT, [], True),
        (ReplyMode.AUTO, [tool("send_message")], True),
        (ReplyMode.AUTO, [CUSTOM], False),
    ],
)
def test_who_speaks_by_content(mode: ReplyMode, tools: list[Any], expected: bool) -> None:
    assert speaks_by_content(mode, tools) is expected


def test_the_declarations_that_are_counted_are_those_that_are_sent() -> None:
    steps = StepRequests(request(tools=[WEATHER]), by_content=False)
    sent = json.loads(steps.body(context(), last=False))["tools"]
    assert json.loads(f"[{steps.tools_text}]") == sent


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("clean", [False, True])
def test_an_answer_is_asked_for_as_long_as_the_window_has_room(name: str, clean: bool) -> None:
    steps = StepRequests(request(user("hi"), options={name: 5000}, clean=clean), by_content=False)
    asked = 5000 if clean else 6024  # thoughts and calls come on top
    assert steps.answer == asked
    written = [
        json.loads(steps.body(context(), last=False, longest=longest))[name]
        for longest in (None, 9000, 700)
    ]
    assert written == [asked, asked, 700]


def test_no_length_is_asked_for_where_the_client_asks_for_none() -> None:
    steps = StepRequests(request(user("hi")), by_content=False)
    assert steps.answer is None
    assert "max_tokens" not in json.loads(steps.body(context(), last=False, longest=700))


@pytest.mark.parametrize(("count", "left"), [(121, 7), (126, 2), (128, 0), (129, 7)])
def test_our_functions_do_not_make_the_clients_tools_too_many(count: int, left: int) -> None:
    written = body(tools=[tool(f"t{number}") for number in range(count)])
    assert [name for name in names(written) if not name.startswith("t")] == OURS[:left]
