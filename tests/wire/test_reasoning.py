"""Reasoning gathered from deltas, as it goes back with its message."""

from __future__ import annotations

from typing import Any

import pytest

from memgpt_proxy.wire.reasoning import Reasoning, with_reasoning, without_reasoning

CLAUDE = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}


def gathered(*deltas: dict[str, Any]) -> dict[str, Any]:
    reasoning = Reasoning()
    for delta in deltas:
        assert reasoning.add(delta)
    return reasoning.fields()


def test_texts_are_joined_each_in_its_field() -> None:
    assert gathered({"reasoning_content": "Let "}, {"reasoning_content": "me see"}) == {
        "reasoning_content": "Let me see"
    }
    assert gathered({"reasoning": "a"}, {"reasoning_content": "b"}, {"reasoning": "c"}) == {
        "reasoning": "ac",
        "reasoning_content": "b",
    }


def test_a_block_in_pieces_becomes_whole_with_the_signature_that_comes_last() -> None:
    """As OpenRouter streams Claude's: the signature is about the whole text."""
    deltas: list[dict[str, Any]] = [
        {"reasoning": "Let", "reasoning_details": [{**CLAUDE, "text": "Let"}]},
        {"reasoning": " me", "reasoning_details": [{**CLAUDE, "text": " me"}]},
        {"reasoning_details": [{**CLAUDE, "signature": "Eq0="}]},
    ]
    assert gathered(*deltas) == {
        "reasoning": "Let me",
        "reasoning_details": [{**CLAUDE, "text": "Let me", "signature": "Eq0="}],
    }


def test_blocks_stay_apart() -> None:
    """By index, type and id; one without an index is a block by itself."""
    kind = "reasoning.encrypted"
    blocks: list[dict[str, Any]] = [
        {"type": kind, "data": "a", "id": "one", "index": 0},
        {"type": kind, "data": "b", "id": "two", "index": 0},
        {"type": "reasoning.summary", "summary": "c", "index": 0},
        {"type": kind, "data": "d", "id": None, "index": 1},
        {"type": kind, "data": "e"},
        {"type": kind, "data": "e"},
    ]
    assert gathered({"reasoning_details": blocks}) == {"reasoning_details": blocks}
    assert gathered(*({"reasoning_details": [each]} for each in blocks)) == {
        "reasoning_details": blocks
    }


def test_what_says_nothing_is_nothing() -> None:
    reasoning = Reasoning()
    for delta in ({}, {"content": "a"}, {"reasoning_content": "", "reasoning": None}):
        assert not reasoning.add(delta)
    assert not reasoning.add({"reasoning_details": []})
    assert reasoning.fields() == {}


def test_what_is_of_another_type_counts_as_reasoning_and_goes_nowhere() -> None:
    reasoning = Reasoning()
    assert reasoning.add({"reasoning": {"no": "text"}})
    assert reasoning.add({"reasoning_details": "no list"})
    assert reasoning.add({"reasoning_details": ["no object"]})
    assert reasoning.fields() == {}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "reasoning_details"])
def test_a_message_without_it(name: str) -> None:
    message = {"role": "assistant", "content": "Hi"}
    assert without_reasoning({**message, name: "secret"}) == message
    assert without_reasoning(message) is message


def test_every_message_of_the_assistant_with_it() -> None:
    said = {"role": "assistant", "content": "Hi"}
    user = {"role": "user", "content": "Hi"}
    known = {**said, "reasoning_content": "Hm."}
    assert with_reasoning(user) is user
    assert with_reasoning(known) is known
    assert with_reasoning(said) == {**said, "reasoning_content": " "}
    assert with_reasoning({**said, "reasoning_content": ""})["reasoning_content"] == " "
    assert with_reasoning({**said, "reasoning": "Hm."})["reasoning_content"] == "Hm."
