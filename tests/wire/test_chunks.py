"""Events as servers write them, and what is read of them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.chunks import NoChunk, chunks_of, chunks_of_body, is_done

CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": None}]}
WHOLE = {"choices": [{"index": 0, "message": {"content": "Hi."}, "finish_reason": "stop"}]}
READ = {"choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}]}

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
def test_what_python_writes_is_read(value: Any) -> None:
    assert chunks_of(json.dumps({"id": value}).encode()) == [{"id": meant(value)}]


@pytest.mark.parametrize("event", [b"[DONE]", b" [DONE]\t", b'"[DONE]"', b"[done]"])
def test_the_end(event: bytes) -> None:
    assert is_done(event)


@pytest.mark.parametrize("event", [b"{}", b"[DONE]{}", b"DONE", b'{"a": "[DONE]"}'])
def test_no_end(event: bytes) -> None:
    assert not is_done(event)


def test_a_whole_completion_wherever_it_stands() -> None:
    told = {"object": "chat.completion.chunk"}
    body = json.dumps(WHOLE).encode()
    assert chunks_of(body) == chunks_of_body(b"\xef\xbb\xbf" + body) == [READ | told]


def test_a_chunk_with_both_is_a_chunk() -> None:
    both = {"choices": [{"delta": {"content": "."}, "message": {"content": "Hi."}}]}
    assert chunks_of(json.dumps(both).encode()) == [both]


ERRORS: list[tuple[Any, Any]] = [
    ({"error": {"message": "No."}}, {"message": "No."}),
    ({"error": "No."}, "No."),
    ({"object": "error", "message": "No.", "code": 7}, {"message": "No.", "code": 7}),
    ({"detail": "No."}, {"message": "No."}),
]


@pytest.mark.parametrize(("body", "error"), ERRORS)
def test_errors(body: Any, error: Any) -> None:
    ((told),) = chunks_of(json.dumps(body).encode())
    assert set(told) == {"error"}
    found: Any = told["error"]
    if isinstance(error, dict):
        assert error.items() <= found.items()
    else:
        assert found == error


@pytest.mark.parametrize("body", [b"{no", b"17", b'"x"', b"null", b"[]", b"{}\n{no", b"\xff"])
def test_what_is_none(body: bytes) -> None:
    with pytest.raises(NoChunk):
        chunks_of(body)


@given(st.lists(st.just(CHUNK), min_size=1, max_size=4), st.booleans())
def test_several_to_an_event(several: list[Any], done: bool) -> None:
    lines = [json.dumps(each) for each in several] + (["[DONE]"] if done else [])
    assert chunks_of("\n".join(lines).encode()) == several


@given(st.text(st.characters(codec=None), max_size=9))
def test_halves_of_characters(text: str) -> None:
    """Whatever stands in a string of JSON can be sent on as UTF-8."""
    (chunk,) = chunks_of(json.dumps({"choices": [{"delta": {"content": text}}]}).encode())
    said: Any = chunk["choices"][0]["delta"]
    assert (
        said["content"].encode().decode()
        == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        or "\N{REPLACEMENT CHARACTER}" in said["content"]
    )


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    with suppress(NoChunk):
        assert all(isinstance(chunk, dict) for chunk in chunks_of(data))
