"""Calls listed in an answer's text: told as calls while they arrive, however the text is cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.listed_calls import ListedCalls
from memgpt_proxy.wire.merge import ChoiceMerger
from memgpt_proxy.wire.shape import MalformedChunk
from memgpt_proxy.wire.step import StepReader

NAMES = ("send_message", "working_context_append", "get_weather")


def chunk(content: Any = None, reason: str | None = None, index: int = 0, **more: Any) -> Any:
    delta = more if content is None else {"content": content, **more}
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def listed(*calls: tuple[str, Any]) -> str:
    return json.dumps({"tool_calls": [{"name": name, "arguments": args} for name, args in calls]})


def read(chunks: Iterable[Any]) -> list[Any]:
    calls = ListedCalls(NAMES)
    return [*calls.read(chunks), *calls.close()]


def gathered(chunks: Iterable[Any]) -> StepReader:
    reader = StepReader()
    for each in read(chunks):
        reader.add(each)
    return reader


def told(chunks: Iterable[Any]) -> tuple[str, list[tuple[str, str]], str | None]:
    """The content, the calls and the reason for the end that are told."""
    reader = gathered(chunks)
    calls = [(call.name, call.arguments) for call in reader.calls]
    return reader.content, calls, reader.finish_reason


def test_a_message_is_told_while_it_is_written() -> None:
    calls = ListedCalls(NAMES)
    reader = StepReader()

    def added(text: str) -> str:
        progress = [reader.add(each) for each in calls.read([chunk(text)])]
        return "".join(arguments for each in progress for _, arguments in each.calls)

    assert added('{"tool_calls": [{"name": "send_mess') == ""
    assert reader.content == ""
    assert added('age", "arguments": {"message": "Hel') == '{"message": "Hel'
    assert added("lo") == "lo"
    assert added(' there"}}') == ' there"}'
    assert added(', {"name": "working_context_append", "arguments"') == ""
    assert added(': {"content": "x"}}]}') == '{"content": "x"}'
    assert [call.name for call in reader.calls] == ["send_message", "working_context_append"]
    assert reader.content == ""


ARGUMENTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ),
    max_size=4,
)
CALLS = st.lists(st.tuples(st.sampled_from(NAMES), ARGUMENTS), min_size=1, max_size=4)


def cut(text: str, places: list[int]) -> list[str]:
    """Cut a text at these places."""
    at = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(at)]


@given(CALLS, st.lists(st.integers(0, 10**4), max_size=30), st.sampled_from([None, 2]))
def test_all_calls_come_whatever_the_cuts(
    calls: list[tuple[str, Any]], places: list[int], indent: int | None
) -> None:
    text = json.dumps(json.loads(listed(*calls)), indent=indent, ensure_ascii=bool(indent))
    pieces = [chunk(piece) for piece in cut(text, places)]
    content, found, reason = told([*pieces, chunk(reason="stop")])
    assert content == ""
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls
    assert reason == "tool_calls"


@given(st.text(), st.lists(st.integers(0, 10**4), max_size=10), st.booleans())
def test_other_text_goes_on_as_it_came(text: str, places: list[int], ends: bool) -> None:
    pieces = [chunk(piece, role="assistant") for piece in cut(text, places)]
    end = [chunk(reason="stop")] if ends else []
    assert told([*pieces, *end]) == (text, [], "stop" if ends else None)


NEARLY = [
    '{"tool_calls": [{"name": "unknown", "arguments": {}}]}',
    '{"tool_calls": []}',
    '{"tool_calls": "none"}',
    '{"name": "send_message", "arguments": {"message": "Hi"}}',
    '[{"name": "send_message", "arguments": {"message": "Hi"}}]',
    '```json\n{"tool_calls": [{"name": "send_message", "arguments": {}}]}\n```',
    'Hi {"tool_calls": [{"name": "send_message", "arguments": {}}]}',
    '{"tool_calls',
    "{",
    '{"colour": "red"}',
]


@pytest.mark.parametrize("text", NEARLY)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_only_looks_like_it_is_for_others_to_read(text: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert told([*map(chunk, pieces), chunk(reason="length")]) == (text, [], "length")


def test_probabilities_stay_with_their_text() -> None:
    given = [chunk('{"'), chunk("colour"), chunk('": 1}'), chunk(reason="stop")]
    for each in given:
        each["choices"][0]["logprobs"] = {"content": [{"token": "t"}]}
    assert [each["choices"] for each in read(given) if each["choices"]] == [
        each["choices"] for each in given
    ]
    call = chunk(listed(("send_message", {})), "stop")
    call["choices"][0]["logprobs"] = {"content": [{"token": "t"}]}
    assert "logprobs" not in read([call])[0]["choices"][0]


def test_each_choice_by_itself() -> None:
    merger = ChoiceMerger()
    first, second = listed(("get_weather", {"city": "Kyiv"})), "It rains."
    pieces = [(0, first[:20]), (1, second[:3]), (0, first[20:]), (1, second[3:])]
    given = [chunk(text, index=index) for index, text in pieces]
    for each in read([*given, chunk(reason="stop", index=1), chunk(reason="stop")]):
        merger.add(each)
    called, said = merger.choices()
    assert called["finish_reason"] == "tool_calls"
    (call,) = called["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Kyiv"}'}
    assert (said["message"]["content"], said["finish_reason"]) == ("It rains.", "stop")


FIRST = '{"name": "get_weather", "arguments": {}}, '
ITEMS = [
    (r'{"name": "send_message", "arguments": "{\"message\": \"Hi\"}"}', '{"message": "Hi"}'),
    ('{"function": {"name": "send_message", "arguments": {"a": [1]}}, "i": "}"}', '{"a": [1]}'),
    ('{"name": "send_message", "arguments": null}', ""),
    (FIRST + '{"name": "send_message"}', ""),
    (FIRST + '{"arguments": {"b": 2}, "name": "send_message"}', '{"b": 2}'),
]


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(("items", "expected"), ITEMS)
def test_items_in_other_forms(items: str, expected: str, size: int) -> None:
    text = f'{{"tool_calls": [{items}]}}'
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    content, found, _ = told([*map(chunk, pieces), chunk(reason="stop")])
    assert content == ""
    assert found[-1] == ("send_message", expected)


def test_a_call_of_an_unknown_function_behind_a_known_one_is_told() -> None:
    """Whoever reads the calls says that there is none."""
    items = '{"name": "send_message", "arguments": {}}, {"name": "fly", "arguments": {"to": 1}}'
    _, found, _ = told([chunk(f'{{"tool_calls": [{items}]}}')])
    assert found == [("send_message", "{}"), ("fly", '{"to": 1}')]


@pytest.mark.parametrize("size", [1, 1000])
def test_what_stands_behind_the_list_is_text(size: int) -> None:
    text = listed(("send_message", {})) + "\n Well."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert told(map(chunk, pieces))[0] == "Well."


def test_an_answer_cut_off_leaves_the_call_unfinished() -> None:
    text = listed(("send_message", {"message": "Hello"})).partition('o"')[0]
    content, found, reason = told([chunk(text), chunk(reason="length")])
    assert (content, reason) == ("", "length")
    assert found == [("send_message", '{"message": "Hell')]


def test_what_comes_beside_the_text_stays() -> None:
    text = listed(("send_message", {}))
    given = [
        chunk(text[:9], role="assistant", reasoning_content="Hm"),
        chunk(text[9:]),
        {"id": "c", "choices": [], "usage": {"total_tokens": 3}},
    ]
    reader = gathered(given)
    assert reader.reasoning == {"reasoning_content": "Hm"}
    assert reader.usage == {"total_tokens": 3}
    assert [call.name for call in reader.calls] == ["send_message"]


def test_content_in_parts_is_text() -> None:
    parts = [{"type": "text", "text": listed(("send_message", {}))}]
    assert told([chunk(parts)])[1] == [("send_message", "{}")]


@pytest.mark.parametrize("broken", [5, [5], {"a": 1}, [{"delta": {"content": 5}}]], ids=str)
def test_a_chunk_of_another_shape_is_told_by_who_reads_it(broken: Any) -> None:
    with pytest.raises(MalformedChunk):
        gathered([{"choices": broken}])


def test_one_piece_of_each_call_in_a_chunk() -> None:
    text = listed(("get_weather", {"city": "Kyiv"}), ("send_message", {"message": "Hi"}))
    (only,) = read([chunk(text)])
    pieces = only["choices"][0]["delta"]["tool_calls"]
    assert [piece["index"] for piece in pieces] == [0, 1]
