"""How each model speaks to the user, learned from its own answers (DESIGN, section 6)."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum, auto

from memgpt_proxy.config import ReplyMode

_REMEMBERED_MODELS = 1024


class Habit(Enum):
    """What plain content of a model is."""

    UNKNOWN = auto()
    """Not seen yet: held back until its step ends."""
    FUNCTION = auto()
    """Thoughts: the model replies by ``send_message``."""
    CONTENT = auto()
    """The reply: it can be streamed as it comes."""
    MIXED = auto()
    """Thoughts when it comes beside calls, else the reply: always held back."""


class Habits:
    """What was learned of each model, for the life of the process."""

    def __init__(self, mode: ReplyMode) -> None:
        self._mode = mode
        self._learned: OrderedDict[str, Habit] = OrderedDict()

    def of(self, model: str) -> Habit:
        """Return the habit of ``model``: as set by the operator, else as learned."""
        match self._mode:
            case ReplyMode.FUNCTION:
                return Habit.FUNCTION
            case ReplyMode.CONTENT:
                return Habit.CONTENT
            case ReplyMode.AUTO:
                return self._learned.get(model, Habit.UNKNOWN)

    def learn(self, model: str, *, sent: bool, content: bool, called: bool) -> None:
        """Take one step: did it call ``send_message``, write content, call other functions?"""
        known = self._learned.get(model, Habit.UNKNOWN)
        if sent:
            habit = Habit.FUNCTION
        elif content and called and known is not Habit.FUNCTION:
            habit = Habit.MIXED
        elif content and known is Habit.UNKNOWN:
            habit = Habit.CONTENT
        else:
            return
        self._learned[model] = habit
        self._learned.move_to_end(model)
        if len(self._learned) > _REMEMBERED_MODELS:
            self._learned.popitem(last=False)
