"""What is learned of a model's way to speak."""

from __future__ import annotations

import pytest

from memgpt_proxy.agent.habits import Habit, Habits
from memgpt_proxy.config import ReplyMode

SENT = {"sent": True, "content": False, "called": True}
SENT_WITH_THOUGHTS = {"sent": True, "content": True, "called": True}
SPOKE = {"sent": False, "content": True, "called": False}
THOUGHT = {"sent": False, "content": True, "called": True}
CALLED = {"sent": False, "content": False, "called": True}
SILENT = {"sent": False, "content": False, "called": False}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], Habit.HELD),
        ([SILENT], Habit.HELD),
        ([CALLED], Habit.HELD),
        ([SPOKE], Habit.CONTENT),
        ([SENT], Habit.HELD),
        ([SENT_WITH_THOUGHTS], Habit.HELD),
        ([THOUGHT], Habit.HELD),
        ([SPOKE, THOUGHT], Habit.HELD),
        ([THOUGHT, SPOKE], Habit.HELD),
        ([SPOKE, SENT], Habit.HELD),
        ([THOUGHT, SENT], Habit.HELD),
        ([SENT, THOUGHT], Habit.HELD),
        ([SENT, SPOKE], Habit.HELD),
        ([SPOKE, CALLED], Habit.CONTENT),
    ],
)
def test_learning(steps: list[dict[str, bool]], expected: Habit) -> None:
    habits = Habits(ReplyMode.AUTO)
    for step in steps:
        habits.learn("a-model", **step)
    assert habits.of("a-model") is expected
    assert habits.of("another") is Habit.HELD


@pytest.mark.parametrize(
    ("mode", "habit"),
    [(ReplyMode.FUNCTION, Habit.FUNCTION), (ReplyMode.CONTENT, Habit.CONTENT)],
)
@pytest.mark.parametrize("step", [SENT, SPOKE, THOUGHT])
def test_the_operators_word_counts(mode: ReplyMode, habit: Habit, step: dict[str, bool]) -> None:
    habits = Habits(mode)
    habits.learn("a-model", **step)
    assert habits.of("a-model") is habit


def test_of_endlessly_many_models_the_newest_are_remembered() -> None:
    habits = Habits(ReplyMode.AUTO)
    for number in range(1500):
        habits.learn(str(number), **SPOKE)
    assert habits.of("1499") is Habit.CONTENT
    assert habits.of("0") is Habit.HELD
