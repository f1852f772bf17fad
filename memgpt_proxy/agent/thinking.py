"""Which models' answers begin inside a block of thinking, learned from the answers themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from memgpt_proxy.agent.learned import Learned
from memgpt_proxy.values import dataclass
from memgpt_proxy.wire.thinking import Beginning, beginning_of

_OPENED = re.compile(
    r"deepseek-r1|qwq(?!.*preview)|qwen-?3.*thinking|qwen-?3\.[5-9]|glm-z1|glm-(?:4\.7|5)|minimax-m2"
)
"""Names of models whose chat template ends with an open block, unless thinking is switched off.

From their public templates: DeepSeek-R1 and what was distilled from it, QwQ, Qwen3-…-Thinking,
Qwen3.5 and later, GLM-Z1, GLM-4.7 and 5, MiniMax-M2.
"""

_SWITCHES = ("enable_thinking", "thinking")
_OPTIONS = frozenset(
    {*_SWITCHES, "chat_template_kwargs", "include_reasoning", "reasoning", "reasoning_effort"}
)
"""All options that say something of thinking."""
_WORDS = re.compile(
    r"(?<!\S)/(?P<off>no_?)?think(?!\S)|detailed thinking (?P<on>on|off)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Thinker:
    """A model as a request asks it.

    Attributes:
        key: What it is remembered by.
        model: Its name.
        thinks: Whether the request switches its thinking on or off; None where it does not say.
    """

    key: str
    model: str
    thinks: bool | None = None

    @property
    def presumed(self) -> Beginning:
        """Where its answers begin as far as the name tells."""
        name = self.model.lower().replace("_", "-")
        opened = self.thinks is not False and _OPENED.search(name)
        return Beginning.PRESUMED if opened else Beginning.UNKNOWN


class ThinkingHabits:
    """What was learned of each model, for the life of the process.

    Templates open a block or not as a request switches thinking on or off, so that each is learned
    apart. A model is as its name tells until its first answer has ended; so it is again once it was
    known to begin inside and then does not.
    """

    def __init__(self) -> None:
        self._learned: Learned[Beginning] = Learned()

    def of(self, thinker: Thinker) -> Beginning:
        """Return where the next answer is to be expected to begin."""
        return self._learned.get(_name(thinker), thinker.presumed)

    def learn(self, thinker: Thinker, content: str, *, reasoned: bool, cut: bool) -> None:
        """Take a finished answer.

        Args:
            reasoned: Its reasoning came apart from its content.
            cut: It was cut short, maybe before a closing tag.
        """
        before, found = self.of(thinker), beginning_of(content)
        if found is not Beginning.INSIDE and reasoned:
            found = Beginning.OUTSIDE
        elif found is Beginning.OUTSIDE and (cut or before is Beginning.PRESUMED):
            return
        elif found is Beginning.OUTSIDE and before is Beginning.INSIDE:
            self._learned.pop(_name(thinker))
            return
        if found is before or found is Beginning.UNKNOWN:
            return
        self._learned[_name(thinker)] = found


def _name(thinker: Thinker) -> str:
    return thinker.key if thinker.thinks is None else f"{thinker.key}\0{thinker.thinks}"


def thinking_asked(options: Mapping[str, Any], texts: Iterable[Any] = ()) -> bool | None:
    """Return whether a request switches thinking on or off; None where it does not say.

    What is known of it: vLLM's and SGLang's ``chat_template_kwargs``, Alibaba's
    ``enable_thinking``, DeepSeek's, Z.AI's and Moonshot's ``thinking``, OpenRouter's ``reasoning``,
    OpenAI's ``reasoning_effort``. Reasoning that is left out of the answer is no thinking here.

    Args:
        options: Its fields.
        texts: What templates look for words in that switch, oldest first: Qwen3's and SmolLM3's
            ``/think`` and ``/no_think``, GLM's ``/nothink``, Nemotron's sentence. The last counts,
            unless the options switch thinking off.
    """
    asked = _asked(options)
    if asked is False:
        return False
    switched = None
    for text in texts:
        if isinstance(text, str) and "think" in text:
            for found in _WORDS.finditer(text):
                switched = not found["off"] and found["on"] != "off"
    return asked if switched is None else switched


def _asked(options: Mapping[str, Any]) -> bool | None:
    if _OPTIONS.isdisjoint(options):
        return None
    reasoning = _object(options.get("reasoning"))
    if options.get("include_reasoning") is False or reasoning.get("exclude") is True:
        return False
    template = _object(options.get("chat_template_kwargs"))
    given = [source.get(name) for source in (template, options) for name in _SWITCHES]
    given += [reasoning.get("enabled"), reasoning.get("effort"), options.get("reasoning_effort")]
    return next((said for value in given if (said := _switch(value)) is not None), None)


def _switch(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    told = value.get("type") if isinstance(value, Mapping) else value
    return told not in ("none", "disabled") if isinstance(told, str) else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
