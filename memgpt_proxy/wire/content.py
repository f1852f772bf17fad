"""What of a model's plain text is meant for a person.

Models that are asked to call functions write calls into their content, too, and some put their
thinking in front of it. Neither may reach the person who reads the reply.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from enum import Enum

from memgpt_proxy.wire.call_forms import (
    Call,
    CallOpening,
    Verdict,
    calls_in,
    first_characters,
    skip_space,
)
from memgpt_proxy.wire.nesting import ValueEnd
from memgpt_proxy.wire.thinking import Beginning, ThinkingGate

__all__ = ["Call", "ContentGate"]


class _Space(Enum):
    """What becomes of white space in front of a line."""

    SET_ASIDE = "kept until it is known what follows"
    RELEASED = "released"
    DROPPED = "dropped"


class ContentGate:
    """Releases the text that is certainly meant for a person and collects the calls of `functions`.

    Held back is what may still become thinking at the start of the content, or a call at the start
    of a line. Thinking is dropped. Text that proves to be neither is released as it came.
    """

    __slots__ = (
        "_aside", "_calls", "_closers", "_first", "_functions", "_held", "_json",
        "_opening", "_out", "_space", "_state", "_thinking", "_value",
    )  # fmt: skip

    def __init__(
        self, functions: Collection[str], beginning: Beginning = Beginning.OUTSIDE
    ) -> None:
        self._functions = functions
        self._first = first_characters(functions)
        self._thinking = ThinkingGate(beginning)
        self._space = _Space.SET_ASIDE
        self._aside: list[str] = []
        self._held = ""  # text that cannot be judged before more of it has come
        self._out: list[str] = []
        self._opening = CallOpening(functions)
        self._closers: list[str] = []
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
        if self._state is ContentGate._prose and "\n" not in text:
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
        if self._state is ContentGate._call:
            self._take_call()
            self._calls[-1] = replace(self._calls[-1], cut=cut)
        self._release(self._held if self._state is ContentGate._undecided else "")
        self._held = ""
        return rest + self._released(), self._calls

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
        if text[end] in self._first:
            self._opening = CallOpening(self._functions)
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

    def _prose(self, text: str, position: int) -> int:
        end = text.find("\n", position) + 1
        if not end:
            self._out.append(text[position:])
            return len(text)
        self._out.append(text[position:end])
        self._space = _Space.RELEASED
        self._state = ContentGate._line_start
        return end

    def _undecided(self, text: str, position: int) -> int:
        match self._opening.read(text, position):
            case Verdict.CALL:
                self._begin_call()
                return position + self._opening.start
            case Verdict.OTHER:
                self._begin_prose()
                return position
            case Verdict.OPEN:
                return position

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
        for closer in reversed(self._closers):
            if text.startswith(closer, end):
                del self._closers[self._closers.index(closer) :]
                return end + len(closer)
        if any(closer.startswith(text[end : end + len(closer)]) for closer in self._closers):
            return end
        if text[end] not in "{[":  # else more calls inside the same fence or tag
            self._closers = []
        self._state = ContentGate._line_start
        return end


_State = Callable[[ContentGate, str, int], int]
