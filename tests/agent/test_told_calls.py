"""Calls of a clean step, told to the client in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from memgpt_proxy.agent.reply import Offer
from memgpt_proxy.agent.told_calls import ToldCalls
from memgpt_proxy.wire.step import StepReader
from tests.agent.build import delta


def told(*deltas: dict[str, Any], legacy: bool = False) -> list[dict[str, Any]]:
    """What is told of these deltas of a backend."""
    calls = ToldCalls(Offer(("working_context_append",), {"look"}, clean=True, legacy=legacy))
    reader = StepReader()
    return [
        calls.delta(reader.add(delta(each)).calls, each.get("tool_calls") or ()) for each in deltas
    ]


def piece(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}, **more}]}


def first(name: str, arguments: str, *, id: str = "a", extra: Any = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    call = {"index": 0, "id": id, "type": "function", "function": function}
    return {"tool_calls": [call | (extra or {})]}


def more(arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}


def test_id_and_name_are_told_once() -> None:
    deltas = [piece("look", part, index=0, id="a") for part in ("", '{"x":', "1}")]
    assert told(*deltas) == [first("look", ""), more('{"x":'), more("1}")]


def test_arguments_are_text() -> None:
    assert told(piece("look", {"x": 1}, index=0, id="a")) == [first("look", '{"x":1}')]


def test_other_fields_go_along() -> None:
    extra: dict[str, Any] = {"extra_content": {"google": {}}}
    assert told(piece("look", "{}", index=0, id="a", **extra)) == [first("look", "{}", extra=extra)]


def test_ours_are_not_told_nor_counted() -> None:
    ours = piece("working_context_append", "{}", index=0, id="m")
    assert told(ours, piece("look", "{}", index=1, id="a")) == [{}, first("look", "{}")]


def test_a_name_that_comes_late_is_waited_for() -> None:
    late = [piece(None, '{"x":', index=0, id="a"), piece("look", "1}", index=0)]
    assert told(*late) == [{}, first("look", '{"x":1}')]
    ours = [piece(None, "{", index=0, id="a"), piece("working_context_append", "}", index=0)]
    assert told(*ours) == [{}, {}]


def test_a_call_without_an_id_gets_one() -> None:
    (named,) = told(piece("look", "{}", index=0))
    id = named["tool_calls"][0]["id"]
    assert id.startswith("call_")
    assert named == first("look", "{}", id=id)


def test_a_deprecated_call_is_told_as_the_client_asked() -> None:
    pieces: list[dict[str, Any]] = [{"name": "look", "arguments": ""}, {"arguments": "{}"}]
    deltas = [{"function_call": piece} for piece in pieces]
    named, rest = told(*deltas)
    assert named == first("look", "", id=named["tool_calls"][0]["id"])
    assert rest == more("{}")
    assert told(*deltas, legacy=True) == deltas
    called = piece("look", "{}", index=0, id="a")
    whole = {"function_call": {"name": "look", "arguments": "{}"}}
    assert told(called, legacy=True) == [whole]
