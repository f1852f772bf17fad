"""What of a model's plain text is meant for a person.

Models that are asked to call functions write calls into their content, too, and some put their
thinking in front of it. Neither may reach the person who reads the reply.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from memgpt_proxy.wire.call_forms import (
    ENDS,
    Call,
    CallOpening,
    Verdict,
    Vocabulary,
    calls_in,
    known_calls,
    skip_space,
    vocabulary,
)
from memgpt_proxy.wire.nesting import ValueEnd
from memgpt_proxy.wire.thinking import Beginning, ThinkingGate
from memgpt_proxy.wire.written_calls import Following, following, names_in_text, written_call

__all__ = ["Call", "ContentGate"]

_AMID = re.compile(r"\{(?=[\s\"']|\Z)|\[(?=[\s{A-Za-z]|\Z)|<(?=[\w|｜/]|\Z)")
"""What a call may begin with inside of a line: there a name alone is only spoken of."""


_NAME = re.compile(r"\w+")
_OF_A_WORD = frozenset("_-`")


@lru_cache(maxsize=64)
def _own_begins(own: Vocabulary) -> re.Pattern[str] | None:
    """Return what finds where a call of our own may begin inside of a line."""
    if not own.functions:
        return None
    return re.compile(f"{_AMID.pattern}|{names_in_text(own).pattern}")


class _Space(Enum):
    """What becomes of white space in front of a line."""

    SET_ASIDE = "kept until it is known what follows"
    RELEASED = "released"
    DROPPED = "dropped"


class ContentGate:
    """Releases the text that is certainly meant for a person and collects the calls of `functions`.

    Held back is what may still become thinking at the start of the content, or a call at the start
    of a line, of one of our `own` functions anywhere. Thinking is dropped. Text that proves to be
    neither is released as it came.
    """

    __slots__ = (
        "_aside",
        "_before",
        "_calls",
        "_closers",
        "_fenced",
        "_held",
        "_json",
        "_known",
        "_opening",
        "_out",
        "_own",
        "_own_begins",
        "_space",
        "_state",
        "_thinking",
        "_value",
    )  # fmt: skip

    def __init__(
        self,
        functions: Collection[str],
        beginning: Beginning = Beginning.OUTSIDE,
        *,
        own: Collection[str] = (),
        aside: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._known = vocabulary(tuple(functions), tuple(own))
        self._own = vocabulary(tuple(own), tuple(own))
        self._own_begins = _own_begins(self._own)
        self._before = ""  # the last character in front of the text
        self._thinking = ThinkingGate(beginning, aside)
        self._space = _Space.SET_ASIDE
        self._aside: list[str] = []
        self._held = ""  # text that cannot be judged before more of it has come
        self._out: list[str] = []
        self._opening = CallOpening(self._known)
        self._closers: list[str] = []
        self._fenced = False  # the line is inside of a code fence
        self._value = ValueEnd()
        self._json: list[str] = []
        self._calls: list[Call] = []
        self._state: _State = ContentGate._line_start

    def feed(self, text: str) -> str:
        """Take the next piece of content; return what can be released."""
        return self._read(text if self._thinking.passes else self._thinking.feed(text))

    def reasoned(self, *, waits: bool = False) -> str:
        """Know that reasoning comes apart from the content; return what that releases.

        Args:
            waits: All of the content is held back for another reason anyway.
        """
        return self._read(self._thinking.reasoned(waits=waits))

    def _read(self, text: str) -> str:
        if self._state is ContentGate._prose and "\n" not in text and not self._may_begin(text):
            self._before = text[-1:] or self._before
            return text
        text = self._held + text
        position = 0
        while position < len(text):
            state, start = self._state, position
            position = state(self, text, start)
            if position == start and self._state is state:
                break
        self._held = text[position:]
        return self._released()

    def close(self, *, cut: bool = False) -> tuple[str, list[Call]]:
        """End the content; return the rest of its text, and the calls found.

        A call that is cut off is among them, its arguments None unless their end is certain.

        Args:
            cut: The content was cut short.
        """
        rest = self._read(self._thinking.close(cut=cut))
        self._end_opening()
        while self._state is ContentGate._written:
            rest += self._read(self._take_written(cut=cut))
        match self._state:
            case ContentGate._call:
                self._take_call()
                self._calls[-1] = replace(self._calls[-1], cut=cut)
            case ContentGate._undecided | ContentGate._amid | ContentGate._named if (
                self._held not in ENDS
            ):
                self._release(self._held)
            case _:
                pass
        self._release("")
        self._held = ""
        return rest + self._released(), self._calls

    def _end_opening(self) -> None:
        """Decide what the text has ended in before that was certain."""
        if self._state is ContentGate._suspect:
            text = "".join(self._json)
            self._take_suspect()
            if self._state is ContentGate._prose and self._names_own(text):
                self._out.pop()
                self._json.append(text)
                self._state = ContentGate._written
            return
        is_open = self._state in (ContentGate._undecided, ContentGate._amid)
        if is_open and self._opening.is_begun and self._names_own(self._held):
            self._json.append(self._held)
            self._held, self._state = "", ContentGate._written

    def _names_own(self, text: str) -> bool:
        return any(name in text for name in self._known.own)

    def _release(self, text: str) -> None:
        self._out += self._aside
        self._aside.clear()
        self._out.append(text)

    def _released(self) -> str:
        released = "".join(self._out)
        self._out.clear()
        return released

    # Each state reads `text` from `position` and returns where it stopped. One that neither moves
    # nor changes the state waits for more text.

    def _line_start(self, text: str, position: int) -> int:
        end = skip_space(text, position)
        self._pass_space(text[position:end])
        if end == len(text):
            return end
        if text[end] in self._known.first:
            self._opening = CallOpening(self._known, fenced=self._fenced)
            self._state = ContentGate._undecided
        else:
            self._begin_prose()
        return end

    def _pass_space(self, space: str) -> None:
        if self._space is _Space.RELEASED:
            self._out.append(space)
        elif self._space is _Space.SET_ASIDE:
            self._aside.append(space)

    def _begin_prose(self) -> None:
        self._release("")
        self._closers = []
        self._state = ContentGate._prose

    def _may_begin(self, text: str) -> bool:
        return self._own_begins is not None and self._own_begins.search(text) is not None

    def _prose(self, text: str, position: int) -> int:
        end = text.find("\n", position) + 1 or len(text)
        begun = self._own_begins.search(text, position, end) if self._own_begins else None
        if begun is not None:
            end = begun.start()
            is_name = begun[0][0] not in "{[<"
            self._opening = CallOpening(self._own, fenced=self._fenced)
            self._state = ContentGate._named if is_name else ContentGate._amid
        self._put(text, position, end)
        if begun is None and text.endswith("\n", position, end):
            self._space = _Space.RELEASED
            self._state = ContentGate._line_start
        return end

    def _put(self, text: str, position: int, end: int) -> None:
        self._out.append(text[position:end])
        self._before = text[end - 1 : end] if end > position else self._before

    def _named(self, text: str, position: int) -> int:
        """Read what may be the name of a function of ours, in the middle of text."""
        name = _NAME.match(text, position)
        end = name.end() if name else position + 1
        if end == len(text):
            return position
        word = text[position:end]
        if word in self._known.own and self._is_called_here(text, position):
            match following(text, end):
                case Following.OPEN:
                    return position
                case Following.ARGUMENTS:
                    self._opening.name = word
                    return self._begin(Verdict.WRITTEN, text, position)
                case Following.TEXT:
                    pass
        self._put(text, position, end)
        self._state = ContentGate._prose
        return end

    def _is_called_here(self, text: str, position: int) -> bool:
        """Return whether a name may be called there: in code, and in a word, it is text."""
        before = text[position - 1] if position else self._before
        return not self._fenced and not (before.isalnum() or before in _OF_A_WORD)

    def _amid(self, text: str, position: int) -> int:
        """Read what may be a call inside of a line."""
        if any(each.startswith(text[position:]) for each in ENDS):
            return position
        verdict = self._opening.read(text, position)
        if verdict in (Verdict.CALL, Verdict.WRITTEN):
            return self._begin(verdict, text, position)
        if verdict is Verdict.OPEN:
            return position
        self._put(text, position, position + 1)
        self._state = ContentGate._prose
        return position + 1

    def _undecided(self, text: str, position: int) -> int:
        verdict = self._opening.read(text, position)
        if verdict is Verdict.OTHER:
            self._fenced ^= text.startswith("```", position)
            self._begin_prose()
            return position
        return position if verdict is Verdict.OPEN else self._begin(verdict, text, position)

    def _begin(self, verdict: Verdict, text: str, position: int) -> int:
        """Begin what is, or may be, a call; return where it begins."""
        match verdict:
            case Verdict.WRITTEN:
                self._aside.clear()
                self._state = ContentGate._written
                return position
            case Verdict.SUSPECT:
                self._value = ValueEnd()
                self._json.append(text[position : position + self._opening.start])
                self._state = ContentGate._suspect
            case _:
                self._begin_call()
        return position + self._opening.start

    def _written(self, text: str, position: int) -> int:
        self._json.append(text[position:])
        return len(text)

    def _take_written(self, *, cut: bool) -> str:
        """Read the call that the text begins with, now that all of it is there; return the rest."""
        text = "".join(self._json)
        call, rest = written_call(text, self._known) or (Call(self._opening.name, None, text), "")
        self._calls.append(replace(call, cut=cut and not rest))
        self._json.clear()
        self._space = _Space.DROPPED
        self._closers = [*self._opening.closers]
        self._state = ContentGate._after_call
        return rest

    def _suspect(self, text: str, position: int) -> int:
        end = self._value.find(text, position)
        self._json.append(text[position : len(text) if end < 0 else end])
        if end < 0:
            return len(text)
        self._take_suspect()
        return end

    def _take_suspect(self) -> None:
        text = "".join(self._json)
        self._json.clear()
        if calls := [*known_calls(text[self._opening.start :], self._known)]:
            self._aside.clear()
            self._calls += calls
            self._space = _Space.DROPPED
            self._closers += self._opening.closers
            self._state = ContentGate._after_call
        else:
            self._begin_prose()
            self._out.append(text)

    def _begin_call(self) -> None:
        self._aside.clear()
        self._closers += self._opening.closers
        self._value = ValueEnd()
        self._state = ContentGate._call

    def _call(self, text: str, position: int) -> int:
        end = self._value.find(text, position)
        if end < 0:
            self._json.append(text[position:])
            return len(text)
        self._json.append(text[position:end])
        self._take_call()
        self._state = ContentGate._after_call
        return end

    def _take_call(self) -> None:
        self._calls += calls_in("".join(self._json), self._opening)
        self._json.clear()
        self._space = _Space.DROPPED

    def _after_call(self, text: str, position: int) -> int:
        end = skip_space(text, position)
        if end == len(text):
            return end
        for closer in (*reversed(self._closers), *ENDS):
            if text.startswith(closer, end):
                if closer in self._closers:
                    del self._closers[self._closers.index(closer) :]
                return end + len(closer)
        if any(each.startswith(text[end : end + len(each)]) for each in (*self._closers, *ENDS)):
            return end
        if text[end] == ";":  # between calls of Llama
            return end + 1
        if text[end] not in "{[":  # else more calls inside the same fence or tag
            self._closers = []
        self._state = ContentGate._line_start
        return end


_State = Callable[[ContentGate, str, int], int]
