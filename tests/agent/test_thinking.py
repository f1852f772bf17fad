"""What is learned of where a model's answers begin; what a call of ``send_message`` says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memgpt_proxy.agent.spoken import SpokenMessage, message_of
from memgpt_proxy.agent.thinking import ThinkingHabits
from memgpt_proxy.wire.thinking import Beginning

OUTSIDE, INSIDE, UNKNOWN = Beginning
PLAIN: dict[str, Any] = {"content": "Hi", "reasoned": False, "cut": False}
OPENED = {**PLAIN, "content": "Hm</think>Hi"}
CUT = {**PLAIN, "cut": True}
SILENT = {**PLAIN, "content": ""}
APART = {**PLAIN, "reasoned": True}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], UNKNOWN),
        ([SILENT], UNKNOWN),
        ([PLAIN], OUTSIDE),
        ([PLAIN, SILENT], OUTSIDE),
        ([CUT], UNKNOWN),
        ([APART], OUTSIDE),
        ([{**APART, "cut": True}], OUTSIDE),
        ([OPENED], INSIDE),
        ([OPENED, SILENT], INSIDE),
        ([OPENED, CUT], INSIDE),
        ([OPENED, PLAIN], UNKNOWN),
        ([OPENED, PLAIN, PLAIN], OUTSIDE),
        ([OPENED, APART], OUTSIDE),
        ([PLAIN, OPENED], INSIDE),
        ([{**OPENED, "reasoned": True}], INSIDE),
    ],
)
def test_learning(answers: list[dict[str, Any]], expected: Beginning) -> None:
    habits = ThinkingHabits()
    for answer in answers:
        habits.learn("a-model", answer["content"], reasoned=answer["reasoned"], cut=answer["cut"])
    assert habits.of("a-model") is expected
    assert habits.of("another") is UNKNOWN


def test_what_is_remembered_has_an_end() -> None:
    habits = ThinkingHabits()
    for number in range(1025):
        habits.learn(f"model-{number}", "Hi", reasoned=False, cut=False)
    assert habits.of("model-0") is UNKNOWN
    assert habits.of("model-1024") is OUTSIDE


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Hi", "Hi"),
        ("<think>a\n</think>\nHi", "Hi"),
        ("  Hi <think>", "  Hi <think>"),
        ("<thi", "<thi"),
        ("<think>a", ""),
        ("", ""),
    ],
)
def test_a_message_is_without_thinking(message: str, said: str) -> None:
    arguments = json.dumps({"message": message})
    assert message_of(arguments) == said
    for size in (1, 3, 100):
        spoken = SpokenMessage()
        pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
        assert "".join([*map(spoken.feed, pieces), spoken.close()]) == said
        assert spoken.found


@pytest.mark.parametrize("arguments", ["", "{}", "[]", '{"message": 7}', '{"message": null}'])
def test_a_call_without_a_message_says_nothing(arguments: str) -> None:
    assert message_of(arguments) is None
