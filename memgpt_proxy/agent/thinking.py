"""Which models' answers begin inside a block of thinking, learned from the answers themselves."""

from __future__ import annotations

from memgpt_proxy.agent.learned import Learned
from memgpt_proxy.wire.thinking import Beginning, beginning_of


class ThinkingHabits:
    """What was learned of each model, for the life of the process.

    A model is UNKNOWN until its first answer has ended. One that is known to begin inside and then
    does not (thinking can be switched off) is UNKNOWN again.
    """

    def __init__(self) -> None:
        self._learned: Learned[Beginning] = Learned()

    def of(self, model: str) -> Beginning:
        """Return where the next answer of ``model`` is to be expected to begin."""
        return self._learned.get(model, Beginning.UNKNOWN)

    def learn(self, model: str, content: str, *, reasoned: bool, cut: bool) -> None:
        """Take a finished answer.

        Args:
            reasoned: Its reasoning came apart from its content.
            cut: It was cut short, maybe before a closing tag.
        """
        before, found = self.of(model), beginning_of(content)
        if found is not Beginning.INSIDE and reasoned:
            found = Beginning.OUTSIDE
        elif found is Beginning.OUTSIDE and cut:
            return
        elif found is Beginning.OUTSIDE and before is Beginning.INSIDE:
            self._learned.pop(model)
            return
        if found is before or found is Beginning.UNKNOWN:
            return
        self._learned[model] = found
