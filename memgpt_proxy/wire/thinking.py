"""Thinking at the beginning of a model's text, which is for nobody but the model.

Most servers take it out themselves; where they do not, it stands between tags. Some chat templates
open its block in the prompt, so that a text begins inside it and has nothing but the closing tag.
"""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "◁think▷": "◁/think▷",
    "<|channel|>analysis<|message|>": "<|end|>",
}
_HEADERS = ("<|start|>assistant", "<|channel|>final<|message|>")
"""What gpt-oss writes in front of its answer, behind its analysis."""
_CLOSING = "</think>"
_WORDS = ("We", "The", "User", "I", "Let", "Need", "Okay", "OK", "This", "It")
_STRIPPED = {f"analysis{word}": "assistantfinal" for word in _WORDS}
"""gpt-oss's analysis where a server has taken the tokens out, and left the words in them."""
_BEGINNINGS = {**_TAGS, **_STRIPPED, **dict.fromkeys((*_HEADERS, _CLOSING), "")}
"""What may stand in front of a text, and how it ends; by itself, where that is empty."""
_EITHER = re.compile(r"(?s:(?<![`\"'])</?think>|(?<=([`\"']))</?think>(?=(?!\1).))")
"""Either tag; in quotes or code it is only spoken of."""
_OVERLAP = len(_CLOSING) + 1  # the character in front of it says whether it is in quotes
_ANSWER = re.compile(r"[{\[]\s*[\"{\[]|```|<tool_call>|<function_call>")
_ANSWER_BEGUN = re.compile(r"[{\[]\s*|`{1,2}")
"""JSON, a fence or a call: nobody begins to think with one."""
_ALOUD = re.compile(
    r"\s*(?:(?:okay|ok|alright|hmm|so|first)[,.]?\s+)*(?:so,?\s+)?the user(?:'s\b|\s+(?:is|has|"
    r"wants?|asks?|asked|says?|said|just|wrote|sent|seems?|mentioned|provided)\b)"
    r"|\s*(?:好的|嗯)，?\s*用户",
    re.IGNORECASE,
)
"""How models begin to think: nobody speaks to a person so."""
_MOST = 2**18
"""Characters held back while nobody knows where a text began."""


class Beginning(Enum):
    """Where a model's text begins."""

    OUTSIDE = "no block of thinking is open"
    INSIDE = "the chat template has opened one"
    PRESUMED = "the template is known to open one, if the server does not take it out"
    UNKNOWN = "not known before a closing tag, or the end"


_OPENED = (Beginning.INSIDE, Beginning.PRESUMED)


def beginning_of(text: str) -> Beginning:
    """Return where a whole text began, by its tags; UNKNOWN for one that says nothing."""
    if _CLOSING in text and not _ANSWER.match(text.lstrip()):
        first = _EITHER.search(text)
        if first is not None and first[0] == _CLOSING:
            return Beginning.INSIDE
    return Beginning.OUTSIDE if text and not text.isspace() else Beginning.UNKNOWN


@lru_cache(maxsize=8)
def _beginnings(aside: tuple[tuple[str, str], ...]) -> tuple[Mapping[str, str], frozenset[str]]:
    """Return what may stand in front of a text, how it ends, and its first characters."""
    beginnings = {**_BEGINNINGS, **dict(aside)}
    return beginnings, frozenset(each[0] for each in beginnings)


class ThinkingGate:
    """Takes the thinking off the beginning of a text that comes in pieces.

    Blocks between tags are dropped where they stand in front of everything else. If the text does
    not certainly begin outside, it is held back until a closing tag, which drops all before it, or
    until its end.

    Args:
        aside: What else is dropped in front of everything else, and how that ends.
    """

    __slots__ = (
        "_beginning", "_beginnings", "_closing_tag", "_first", "_held", "_length", "_stripped",
        "passes",
    )  # fmt: skip

    def __init__(
        self,
        beginning: Beginning = Beginning.OUTSIDE,
        aside: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._beginnings, self._first = _beginnings(tuple(aside.items()))
        self.passes = False
        """Whether all that may still come is no thinking at the beginning."""
        self._beginning = beginning
        self._closing_tag = ""  # of the block that is open
        self._held: list[str] = []
        self._length = 0
        self._stripped = False  # a block was dropped, and the white space behind it is

    def feed(self, text: str) -> str:
        """Take the next piece; return what is no thinking."""
        while text and not self.passes:
            if self._closing_tag:
                text = self._drop(text)
            elif self._length:
                text = self._hold(text)
            else:
                text = self._begin(text)
        return text

    def reasoned(self, *, waits: bool = False) -> str:
        """Know that reasoning comes apart from the text; return what that releases.

        A server that does so takes thinking out, unless the model was seen to begin inside.

        Args:
            waits: All of the text is held back for another reason anyway.
        """
        if self._beginning in (Beginning.INSIDE, Beginning.OUTSIDE):
            return ""
        if waits:
            self._beginning = Beginning.UNKNOWN
            return ""
        is_held, self._beginning = bool(self._length), Beginning.OUTSIDE
        return self._pass() if is_held else ""

    def close(self, *, cut: bool = False) -> str:
        """Return what was held back and was no thinking.

        Args:
            cut: The text was cut short: what began inside a block may not have left it.
        """
        inside = self._beginning in _OPENED and self._length
        aloud = self._beginning is Beginning.UNKNOWN and _ALOUD.match("".join(self._held))
        return "" if self._closing_tag or (cut and (inside or aloud)) else self._pass()

    def _pass(self) -> str:
        self.passes, self._length = True, 0
        held = "".join(self._held)
        self._held.clear()
        return held

    def _begin(self, text: str) -> str:
        """Read white space and a tag; return what is to be read on."""
        text = "".join((*self._held, text))
        start = text.lstrip()
        self._held[:] = [start if self._stripped else text]
        if not start:
            return ""
        if start[0] in self._first:
            for opening, closing in self._beginnings.items():
                if start.startswith(opening):
                    rest = self._after_block(start[len(opening) :])
                    self._closing_tag = closing
                    return rest
            if any(opening.startswith(start) for opening in self._beginnings):
                return ""
        if self._beginning is Beginning.OUTSIDE or _ANSWER.match(start):
            return self._pass()
        if _may_become_answer(start):
            return ""
        return self._hold(self._held.pop())

    def _drop(self, text: str) -> str:
        """Drop a block; return what is behind it."""
        text = "".join((*self._held, text))
        end = text.find(self._closing_tag)
        if end < 0:
            self._held[:] = [text[-(len(self._closing_tag) - 1) :]]
            return ""
        end += len(self._closing_tag)
        return self._after_block(text[end:])

    def _hold(self, text: str) -> str:
        """Hold text back; return what is behind the thinking, or all of it if there is none."""
        before = self._held[-1] if self._held else ""
        recent = before + text
        self._length += len(text)
        tag = self._next_tag(recent, len(before))
        if tag is not None and tag[0] == _CLOSING:
            return self._after_block(recent[tag.end() :])
        if self._held:
            self._held.pop()
        self._held += [recent[:-_OVERLAP], recent[-_OVERLAP:]]
        return self._pass() if tag is not None or self._length > _MOST else ""

    def _next_tag(self, recent: str, read: int) -> re.Match[str] | None:
        """Return the tag that says where the text began; inside, only its end counts."""
        wanted = {_CLOSING} if self._beginning in _OPENED else {_CLOSING, "<think>"}
        tags = (tag for tag in _EITHER.finditer(recent) if tag.end() >= read)
        return next((tag for tag in tags if tag[0] in wanted), None)

    def _after_block(self, text: str) -> str:
        self._held.clear()
        self._length = 0
        self._closing_tag = ""
        self._beginning = Beginning.OUTSIDE
        self._stripped = True
        return text


def _may_become_answer(start: str) -> bool:
    is_tag = "<tool_call>".startswith(start) or "<function_call>".startswith(start)
    return is_tag or _ANSWER_BEGUN.fullmatch(start) is not None
