import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.step import StepReader


def chunk(delta, finish_reason=None, **fields):
    return {
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        **fields,
    }


def piece(name=None, arguments=None, **fields):
    return {"function": {"name": name, "arguments": arguments}, **fields}


def read(*chunks):
    step = StepReader()
    progress = [step.add(each) for each in chunks]
    return step, progress


def calls_of(*deltas):
    step, _ = read(*(chunk({"tool_calls": [delta]}) for delta in deltas))
    return [(call.index, call.id, call.name, call.arguments) for call in step.calls]


def test_content():
    step, progress = read(
        chunk({}),  # some backends begin without a word about themselves
        chunk({"content": ""}, id="c1", model="m", created=3, system_fingerprint="fp"),
        chunk({"content": "Hel"}, id="other", model="other", system_fingerprint=None),
        chunk({"content": "lo"}, "stop", system_fingerprint="later"),
        {"choices": [], "usage": {"total_tokens": 9}},
    )
    assert [each.content for each in progress] == ["", "", "Hel", "lo", ""]
    assert step.content == "Hello"
    assert step.finish_reason == "stop"
    assert step.usage == {"total_tokens": 9}
    assert (step.id, step.model, step.created) == ("c1", "m", 3)
    assert (step.system_fingerprint, step.service_tier) == ("fp", None)
    assert step.error is None
    assert step.calls == []


def test_content_can_be_read_between_chunks():
    step = StepReader()
    step.add(chunk({"content": "a"}))
    assert step.content == "a"
    step.add(chunk({"content": "b"}))
    assert step.content == "ab"


def test_content_in_parts():
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    step, progress = read(chunk({"content": parts}), chunk({"content": None}))
    assert step.content == progress[0].content == "ab"


def test_refusal_and_reasoning():
    step, progress = read(
        chunk({"reasoning_content": "Let "}),
        chunk({"reasoning": "me see", "reasoning_content": None}),
        chunk({"reasoning": {"no": "string"}}),
        chunk({"refusal": "No"}),
        chunk({"refusal": "."}),
    )
    assert step.reasoning == {"reasoning_content": "Let ", "reasoning": "me see"}
    assert (step.refusal, step.content) == ("No.", "")
    assert all(each.content == "" for each in progress)


def test_what_backends_leave_out():
    step, _ = read(
        {},
        {"choices": None, "usage": None, "error": None},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": "a", "tool_calls": None, "function_call": None}}]},
    )
    assert step.content == "a"
    assert step.calls == []


def test_only_the_first_choice_counts():
    step, _ = read({"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"}]})
    assert (step.content, step.finish_reason) == ("", None)


def test_an_error_in_the_stream():
    step, _ = read(chunk({"content": "a"}), {"error": {"message": "overloaded", "code": 529}})
    assert step.error == {"message": "overloaded", "code": 529}
    assert read({"error": "overloaded"})[0].error == {"message": "overloaded"}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {"prompt_tokens": None, "completion_tokens": 5, "total_tokens": 5},
            {"completion_tokens": 5, "total_tokens": 5},
        ),
        ({"prompt_tokens": "7", "completion_tokens": 2}, {"completion_tokens": 2}),
        ({"prompt_tokens": True, "total_tokens": 1}, {"total_tokens": 1}),
        ({"total_tokens": 9, "prompt_tokens_details": [1]}, {"total_tokens": 9}),
        (
            {"total_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}, "queue_time": 0.1},
            {"total_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}, "queue_time": 0.1},
        ),
    ],
    ids=str,
)
def test_counts_that_are_none_are_left_out_of_the_usage(told: dict[str, object], usage: object):
    step, _ = read({"choices": [], "usage": told})
    assert step.usage == usage


def test_calls_by_index():
    step, progress = read(
        chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", **piece("f", "")}]}),
        chunk({"tool_calls": [{"index": 0, **piece(arguments='{"x"')}]}),
        chunk({"tool_calls": [{"index": 1, "id": "b", **piece("g", "{")}, {"index": 0}]}),
        chunk({"tool_calls": [piece(arguments="}", index=1), piece(arguments=":1}", index=0)]}),
        chunk({}, "tool_calls"),
    )
    first, second = step.calls
    assert (first.index, first.id, first.name, first.arguments) == (0, "a", "f", '{"x":1}')
    assert (second.index, second.id, second.name, second.arguments) == (1, "b", "g", "{}")
    assert [list(each.calls) for each in progress] == [
        [(first, "")],
        [(first, '{"x"')],
        [(second, "{"), (first, "")],
        [(second, "}"), (first, ":1}")],
        [],
    ]


def test_pieces_of_one_call_in_one_chunk_are_told_with_the_first():
    """Who is told of a piece takes the call as it stands, with all that the chunk has added."""
    _, (progress,) = read(
        chunk({"tool_calls": [piece("f", '{"x"', index=0, id="a"), piece(None, ":1}", index=0)]})
    )
    assert [(call.arguments, text) for call, text in progress.calls] == [
        ('{"x":1}', '{"x":1}'),
        ('{"x":1}', ""),
    ]


def test_calls_without_index():
    assert calls_of(
        piece("f", "{", id="a"),
        piece(arguments="}"),
        piece("g", "[", id="b"),
        piece(arguments="]", id="b"),
        piece(arguments=" ", id="a"),
    ) == [(0, "a", "f", "{} "), (1, "b", "g", "[]")]


def test_calls_without_index_and_id():
    assert calls_of(piece("f", "{"), piece("f", "}"), piece(arguments=" "), piece("g", "{}")) == [
        (0, "", "f", "{} "),
        (1, "", "g", "{}"),
    ]


def test_calls_that_all_have_index_0():
    assert calls_of(
        piece("f", "{}", index=0, id="a"),
        piece("f", "{", index=0, id="b"),
        piece(None, "}", index=0),
    ) == [(0, "a", "f", "{}"), (1, "b", "f", "{}")]


def test_a_call_whose_pieces_have_ids_of_their_own():
    assert calls_of(
        piece("f", "{", index=0, id="a"),
        piece("", "}", index=0, id="b"),
    ) == [(0, "a", "f", "{}")]


def test_arguments_as_an_object():
    [(_, _, name, arguments)] = calls_of(piece("f", {"x": [1, "é"]}, index=0))
    assert name == "f"
    assert json.loads(arguments) == {"x": [1, "é"]}
    assert calls_of(piece("f", {}, index=0)) == [(0, "", "f", "{}")]
    assert calls_of(piece("f", None, index=0)) == [(0, "", "f", "")]


@pytest.mark.parametrize(
    ("told", "error"),
    [({"code": 502}, {"code": 502}), ("Fire.", {"message": "Fire."}), (None, {})],
    ids=str,
)
def test_a_choice_that_ends_in_an_error(told: object, error: dict[str, object]):
    failed = chunk({}, "error")
    failed["choices"][0]["error"] = told
    reader = StepReader()
    reader.add(failed)
    assert reader.error == error


def test_a_call_that_is_told_in_both_ways_is_one():
    function = {"name": "f", "arguments": "{}"}
    call = {"index": 0, "id": "c", "type": "function", "function": function}
    reader = StepReader()
    reader.add(chunk({"tool_calls": [call], "function_call": function}))
    assert [(each.id, each.name, each.arguments) for each in reader.calls] == [("c", "f", "{}")]


def test_the_legacy_function_call():
    step, progress = read(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, "function_call"),
    )
    [call] = step.calls
    assert (call.index, call.id, call.name, call.arguments) == (0, "", "f", "{}")
    assert progress[1].calls == [(call, "{}")]


@given(st.text(), st.text(), st.lists(st.integers(0, 50)))
def test_any_cut_of_content_and_arguments(content, arguments, at):
    def cut(text):
        edges = [0, *sorted(min(i, len(text)) for i in at), len(text)]
        return [text[a:b] for a, b in pairwise(edges)]

    step = StepReader()
    said, written = "", ""
    for part in cut(content):
        said += step.add(chunk({"content": part})).content
    for part in cut(arguments):
        delta = {"tool_calls": [{"index": 3, "id": "a", **piece("f", part)}]}
        [(call, fragment)] = step.add(chunk(delta)).calls
        written += fragment
        assert call is step.calls[0]
    assert said == step.content == content
    assert written == step.calls[0].arguments == arguments
    assert step.calls[0].index == 3
