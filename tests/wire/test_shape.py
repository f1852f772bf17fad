"""What is shaped like a chunk, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.shape import MalformedChunk, is_chunk
from memgpt_proxy.wire.step import StepReader


def delta(value: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": value}]}


def call(value: Any) -> dict[str, Any]:
    return delta({"tool_calls": [value]})


CHUNKS: list[Any] = [
    {},
    {"choices": None, "usage": None},
    {"choices": [], "usage": {"prompt_tokens": 1}},
    {"choices": [{}]},
    delta(None),
    delta({"content": "Hi", "role": None}),
    delta({"content": [{"type": "text", "text": "Hi"}]}),
    delta({"content": None, "tool_calls": None, "function_call": None}),
    delta({"function_call": {"name": None, "arguments": "{}"}}),
    call({"index": 0, "id": "a", "function": {"name": "b", "arguments": {"c": 1}}}),
    call({"index": None, "custom": {"name": "b", "input": "c"}}),
]
OTHERS: list[Any] = [
    None,
    7,
    {"choices": 7},
    {"choices": {}},
    {"choices": [None]},
    {"usage": 7},
    delta("Hi"),
    delta({"content": 7}),
    delta({"content": ["Hi"]}),
    delta({"tool_calls": {}}),
    delta({"function_call": "a"}),
    call(None),
    call({"index": "0"}),
    call({"id": 7}),
    call({"function": "a"}),
    call({"function": {"name": 7}}),
]


@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
def test_chunks(chunk: Any) -> None:
    assert is_chunk(chunk)
    StepReader().add(chunk)


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_what_is_no_chunk(other: Any) -> None:
    assert not is_chunk(other)


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(NAMES), values, max_size=4)


NAMES = ["choices", "usage", "index", "delta", "content", "type", "text", "function", "name"]
NAMES += ["tool_calls", "function_call", "arguments", "id", "error", "refusal", "custom"]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | objects(inner),
    max_leaves=12,
)


@given(st.lists(objects(ANY) | objects(ANY).map(delta) | objects(ANY).map(call), max_size=3))
def test_whatever_comes_is_read_or_is_no_chunk(chunks: list[Any]) -> None:
    reader = StepReader()
    for chunk in chunks:
        try:
            reader.add(chunk)
        except MalformedChunk:
            assert not is_chunk(chunk)
            return
