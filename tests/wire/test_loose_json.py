"""JSON that is not quite: what Python's own reader makes of it is what is meant."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.loose_json import loads

CHARACTERS = st.characters(codec=None) | st.sampled_from(["\ud83d", "\ude00", "\\", '"', "u", "d"])
TEXTS = st.lists(CHARACTERS, max_size=6).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def meant(value: Any) -> Any:
    """The same as JSON has it: no halves of characters, no numbers that are none."""
    if isinstance(value, str):
        pairs = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in pairs)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, list):
        return [meant(each) for each in value]
    if isinstance(value, dict):
        return {meant(name): meant(each) for name, each in value.items()}
    return value


@given(VALUES)
def test_what_python_writes_is_read(value: Any):
    assert loads(json.dumps(value).encode()) == meant(value)


@given(VALUES)
def test_strict_json_is_read_as_it_is(value: Any):
    strict = orjson.dumps(meant(value))
    assert loads(strict) == orjson.loads(strict)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'"\uD83D\uDE00"', "\U0001f600"),
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\\ud83d \ud83dx"', "\\ud83d \ufffdx"),
        (rb'["NaN \ud83d", NaN, -Infinity]', ["NaN \ufffd", None, None]),
    ],
)
def test_halves_and_constants(text: bytes, value: Any):
    assert loads(text) == value


@pytest.mark.parametrize(
    "text",
    [b"", b"{", rb'"\ud8', rb'"\ud83', rb'"\ud8zz"', b'"\xff"', b"nan", b"Infinity1", b'{"a":NaN'],
)
def test_what_is_no_json_is_none(text: bytes):
    with pytest.raises(orjson.JSONDecodeError):
        loads(text)


@given(st.text(alphabet='"\\ud83eNa-Infity0[],{}: ', max_size=24))
def test_nothing_is_read_that_python_does_not_read(text: str):
    try:
        value = loads(text.encode())
    except orjson.JSONDecodeError:
        return
    assert value == meant(json.loads(text))
