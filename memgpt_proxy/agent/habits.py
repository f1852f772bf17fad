"""How each model speaks to the user, learned from its own answers."""

from __future__ import annotations

from enum import Enum, auto

from memgpt_proxy.agent.learned import Learned
from memgpt_proxy.config import ReplyMode


class Habit(Enum):
    """What plain content of a model is."""

    HELD = auto()
    """Thoughts when it comes beside calls, else the reply: held back until its step ends."""
    CONTENT = auto()
    """The reply: streamed as it comes."""
    FUNCTION = auto()
    """Thoughts, always: the operator wants replies by ``send_message`` only."""


class Habits:
    """What was learned of each model, for the life of the process.

    Content of a model that has only ever spoken in content is streamed; of one that has
    called ``send_message``, or written beside calls, it is held back from then on.
    """

    def __init__(self, mode: ReplyMode) -> None:
        self._mode = mode
        self._learned: Learned[Habit] = Learned()

    def of(self, model: str) -> Habit:
        """Return the habit of ``model``: as set by the operator, else as learned."""
        match self._mode:
            case ReplyMode.FUNCTION:
                return Habit.FUNCTION
            case ReplyMode.CONTENT:
                return Habit.CONTENT
            case ReplyMode.AUTO:
                return self._learned.get(model, Habit.HELD)

    def learn(self, model: str, *, sent: bool, content: bool, called: bool) -> None:
        """Take one step: did it call ``send_message``, write content, call any function?"""
        if sent or (content and called):
            habit = Habit.HELD
        elif content:
            habit = self._learned.get(model, Habit.CONTENT)
        else:
            return
        self._learned[model] = habit
