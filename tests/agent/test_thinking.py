"""What is learned of where a model's answers begin; what a call of ``send_message`` says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memgpt_proxy.agent.spoken import SpokenMessage, message_of
from memgpt_proxy.agent.thinking import Thinker, ThinkingHabits, thinking_asked
from memgpt_proxy.wire.thinking import Beginning

OUTSIDE, INSIDE, PRESUMED, UNKNOWN = Beginning
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
    model = Thinker("b/a-model", "a-model")
    learn(habits, model, *answers)
    assert habits.of(model) is expected
    assert habits.of(Thinker("b/another", "another")) is UNKNOWN


def learn(habits: ThinkingHabits, thinker: Thinker, *answers: dict[str, Any]) -> None:
    for answer in answers:
        habits.learn(thinker, answer["content"], reasoned=answer["reasoned"], cut=answer["cut"])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], PRESUMED),
        ([SILENT], PRESUMED),
        ([CUT], PRESUMED),
        ([PLAIN, PLAIN], PRESUMED),
        ([APART], OUTSIDE),
        ([OPENED], INSIDE),
        ([OPENED, PLAIN], PRESUMED),
        ([APART, OPENED], INSIDE),
    ],
)
def test_learning_of_a_model_whose_name_is_known(
    answers: list[dict[str, Any]], expected: Beginning
) -> None:
    habits, model = ThinkingHabits(), Thinker("b/qwq", "qwq")
    learn(habits, model, *answers)
    assert habits.of(model) is expected


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", True),
        ("deepseek-r1:8b", True),
        ("Qwen_QwQ-32B-Q4_K_M.gguf", True),
        ("Qwen/QwQ-32B-Preview", False),
        ("Qwen/Qwen3-235B-A22B-Thinking-2507", True),
        ("qwen3:4b-thinking-2507", True),
        ("Qwen/Qwen3.5-9B", True),
        ("Qwen/Qwen3-32B", False),
        ("Qwen/Qwen3-4B-Instruct-2507", False),
        ("THUDM/GLM-Z1-9B-0414", True),
        ("zai-org/GLM-4.7-Flash", True),
        ("zai-org/GLM-4.6", False),
        ("MiniMaxAI/MiniMax-M2", True),
        ("gpt-5", False),
        ("deepseek-chat", False),
    ],
)
def test_names_whose_template_opens_a_block(name: str, known: bool) -> None:
    assert Thinker("k", name).presumed is (PRESUMED if known else UNKNOWN)
    assert Thinker("k", name, thinks=True).presumed is (PRESUMED if known else UNKNOWN)
    assert Thinker("k", name, thinks=False).presumed is UNKNOWN


def test_thinking_switched_on_is_learned_apart_from_thinking_switched_off() -> None:
    habits = ThinkingHabits()
    off, on, unsaid = (Thinker("b/m", "m", thinks) for thinks in (False, True, None))
    learn(habits, off, PLAIN)
    assert [habits.of(each) for each in (off, on, unsaid)] == [OUTSIDE, UNKNOWN, UNKNOWN]
    learn(habits, on, OPENED)
    assert [habits.of(each) for each in (off, on, unsaid)] == [OUTSIDE, INSIDE, UNKNOWN]


@pytest.mark.parametrize(
    ("options", "thinks"),
    [
        ({}, None),
        ({"temperature": 1, "reasoning": {"summary": "auto"}}, None),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"thinking": True}, "reasoning_effort": "none"}, True),
        ({"chat_template_kwargs": {"thinking": 7}}, None),
        ({"enable_thinking": True}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": None, "reasoning": None, "chat_template_kwargs": []}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "high"}, True),
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"effort": "high", "exclude": True}}, False),
        ({"include_reasoning": False}, False),
    ],
)
def test_what_a_request_says_of_thinking(options: dict[str, Any], thinks: bool | None) -> None:
    assert thinking_asked(options) is thinks


@pytest.mark.parametrize(
    ("options", "texts", "thinks"),
    [
        ({}, ["Hi /think"], True),
        ({}, ["/no_think\nHi"], False),
        ({}, ["Hi /nothink"], False),
        ({}, ["/no_think", None, [{"type": "text"}], "Hi", "/think"], True),
        ({}, ["/think", "now /no_think please"], False),
        ({}, ["detailed thinking on"], True),
        ({}, ["Detailed thinking off"], False),
        ({}, ["I think", "http://a/think", "/thinking", "/think/"], None),
        ({"reasoning_effort": "none"}, ["/think"], False),
        ({"enable_thinking": True}, ["/no_think"], False),
        ({"enable_thinking": True}, ["Hi"], True),
    ],
)
def test_what_its_texts_say_of_it(
    options: dict[str, Any], texts: list[Any], thinks: bool | None
) -> None:
    assert thinking_asked(options, texts) is thinks


def test_what_is_remembered_has_an_end() -> None:
    habits = ThinkingHabits()
    for number in range(1025):
        learn(habits, Thinker(f"model-{number}", "m"), PLAIN)
    assert habits.of(Thinker("model-0", "m")) is UNKNOWN
    assert habits.of(Thinker("model-1024", "m")) is OUTSIDE


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
