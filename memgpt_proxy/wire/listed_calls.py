"""Calls that a model writes as a list in the text of its answer, as calls while they arrive.

So an answer that the text protocol forces reaches all further code like that of a backend which
knows tools, chunk by chunk. Text that proves to be no such list goes on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum, auto
from typing import Any, cast

import orjson

from memgpt_proxy.wire.call_forms import CallOpening, Verdict, calls_in
from memgpt_proxy.wire.chat import Choice, Chunk
from memgpt_proxy.wire.nesting import ValueEnd
from memgpt_proxy.wire.step import text_of
from memgpt_proxy.wire.text_protocol import LIST_FIELD

_LIST = re.compile(rf'\s*\{{\s*"{LIST_FIELD}"\s*:\s*\[')
_OPENED = re.compile(r"[{\[]")
_BETWEEN = re.compile(r"[\s,]*")
_BEFORE_VALUE = re.compile(r"[\s:]*")

Piece = dict[str, Any]
"""A piece of a call, as one of a delta's ``tool_calls``."""


class ListedCalls:
    """Reads the chunks of one answer, each of its choices by itself.

    Args:
        functions: Names that may be called. A list that begins with another call is text.
    """

    def __init__(self, functions: Collection[str]) -> None:
        self._functions = functions
        self._choices: dict[int, _Choice] = {}

    def read(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Take chunks; return those that go on: the same but for text that is calls."""
        return [told for chunk in chunks for told in self._read(chunk)]

    def close(self) -> list[Chunk]:
        """Return what was held back, where the end of a choice was not told."""
        held = (choice for each in self._choices.values() for choice in each.close())
        return [{"choices": [choice]} for choice in held]

    def _read(self, chunk: Chunk) -> Iterable[Chunk]:
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return (chunk,)
        told = [choice for given in choices for choice in self._choice(given)]
        # Each choice in a chunk by itself: several may be pieces of one that were held back.
        first = cast("Chunk", {**chunk, "choices": told[:1]})
        rest: list[Chunk] = [{"choices": [choice]} for choice in told[1:]]
        return [first, *rest]

    def _choice(self, choice: Choice) -> Sequence[Choice]:
        text = _text(choice)
        if text is None:  # of a shape that is no choice's: others tell what is wrong with it
            return (choice,)
        index = choice.get("index") or 0
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = _Choice(self._functions)
        return known.read(choice, text)


class _Is(Enum):
    """What the text of a choice is."""

    OPEN = auto()
    TEXT = auto()
    CALLS = auto()


class _Choice:
    """One choice of an answer."""

    def __init__(self, functions: Collection[str]) -> None:
        self._opening = CallOpening(functions)
        self._calls = _List(functions)
        self._is = _Is.OPEN
        self._begun = ""
        self._held: list[Choice] = []

    def read(self, choice: Choice, text: str) -> Sequence[Choice]:
        """Take a piece with this text; return what goes on of it, and of what was held back."""
        if self._is is _Is.CALLS:
            return (self._called(choice, text),)
        if self._is is _Is.TEXT:
            return (choice,)
        if text:
            self._begun += text
            self._is = self._judged()
        if self._is is _Is.CALLS:
            held = [self._called(each, "") for each in self.close()]
            return (*held, self._called(choice, self._begun))
        if self._is is _Is.OPEN and not choice.get("finish_reason"):
            if not text:
                return (choice,)
            self._held.append(choice)
            return ()
        self._is = _Is.TEXT
        return (*self.close(), choice)

    def close(self) -> list[Choice]:
        """Return what is held back."""
        held, self._held = self._held, []
        return held

    def _judged(self) -> _Is:
        match self._opening.read(self._begun):
            case Verdict.CALL if _LIST.match(self._begun):
                return _Is.CALLS
            case Verdict.OPEN:
                return _Is.OPEN
            case _:
                return _Is.TEXT

    def _called(self, choice: Choice, text: str) -> Choice:
        """Return a piece of the choice with its text as calls."""
        pieces, rest = self._calls.feed(text)
        delta: dict[str, Any] = {**(choice.get("delta") or {})}
        delta.pop("content", None)
        if rest:
            delta["content"] = rest
        if pieces:
            delta["tool_calls"] = pieces
        told: dict[str, Any] = {**choice, "delta": delta}
        told.pop("logprobs", None)  # of tokens that are no text
        if choice.get("finish_reason") == "stop":
            told["finish_reason"] = "tool_calls"
        return cast("Choice", told)


class _List:
    """Reads the list itself, from its beginning."""

    def __init__(self, functions: Collection[str]) -> None:
        self._functions = functions
        self._opening = CallOpening(functions)
        self._value = ValueEnd()
        self._depth = 0  # brackets of an item that are open around its arguments
        self._kept: list[str] = []  # of a value that is read when it is whole
        self._held = ""  # text that cannot be read before more of it has come
        self._count = 0
        self._pieces: list[Piece] = []
        self._rest: list[str] = []
        self._state: _State = _List._before_list

    def feed(self, text: str) -> tuple[list[Piece], str]:
        """Take text; return the pieces of calls in it, and what stands behind the list."""
        text = self._held + text
        position = 0
        while position < len(text):
            state, start = self._state, position
            position = state(self, text, start)
            if position == start and self._state is state:
                break
        self._held = text[position:]
        pieces, self._pieces = self._pieces, []
        rest, self._rest = "".join(self._rest), []
        return pieces, rest

    # Each state reads `text` from `position` and returns where it stopped. One that neither moves
    # nor changes the state waits for more text.

    def _before_list(self, text: str, position: int) -> int:
        begun = _LIST.match(text, position)
        if begun is None:
            return position
        self._state = _List._between
        return begun.end()

    def _between(self, text: str, position: int) -> int:
        position = _end(_BETWEEN, text, position)
        if position == len(text):
            return position
        if text[position] == "{":
            self._opening = CallOpening(self._functions)
            self._state = _List._item
            return position
        self._value = ValueEnd(1)  # the object around the list is open
        self._state = _List._after_list
        return position + (text[position] == "]")

    def _item(self, text: str, position: int) -> int:
        match self._opening.read(text, position):
            case Verdict.OPEN:
                return position
            case Verdict.CALL:
                end = position + self._opening.end
                self._depth = len(_OPENED.findall(text, position, end))
                self._state = _List._before_arguments
                return end
            case _:
                self._keep(_List._other_item)
                return position

    def _before_arguments(self, text: str, position: int) -> int:
        position = _end(_BEFORE_VALUE, text, position)
        if position == len(text):
            return position
        if text[position] == "{":
            self._value = ValueEnd()
            self._begin(self._opening.name)
            self._state = _List._arguments
        elif text[position] == '"':
            self._keep(_List._written_arguments)
        else:
            self._begin(self._opening.name)
            self._after_arguments()
        return position

    def _arguments(self, text: str, position: int) -> int:
        end = self._value.find(text, position)
        stop = len(text) if end < 0 else end
        self._go_on(text[position:stop])
        if end >= 0:
            self._after_arguments()
        return stop

    def _written_arguments(self, text: str, position: int) -> int:
        """Read arguments that are a string: their JSON, written as text."""
        end = self._kept_to(text, position)
        if end < 0:
            return len(text)
        self._begin(self._opening.name)
        self._go_on(_string("".join(self._kept)))
        self._after_arguments()
        return end

    def _other_item(self, text: str, position: int) -> int:
        """Read an item that does not begin like a call of a known function."""
        end = self._kept_to(text, position)
        if end < 0:
            return len(text)
        for call in calls_in("".join(self._kept), self._opening):
            if call.name:
                self._begin(call.name)
                self._go_on(call.text)
        self._state = _List._between
        return end

    def _after_item(self, text: str, position: int) -> int:
        end = self._value.find(text, position)
        if end < 0:
            return len(text)
        self._state = _List._between
        return end

    def _after_list(self, text: str, position: int) -> int:
        end = self._value.find(text, position)
        if end < 0:
            return len(text)
        self._state = _List._behind
        return end

    def _behind(self, text: str, position: int) -> int:
        if rest := text[position:].lstrip():
            self._state = _List._text
            self._rest.append(rest)
        return len(text)

    def _text(self, text: str, position: int) -> int:
        self._rest.append(text[position:])
        return len(text)

    def _keep(self, state: _State) -> None:
        self._value = ValueEnd()
        self._kept = []
        self._state = state

    def _kept_to(self, text: str, position: int) -> int:
        """Keep the value's text; return where it ends, or -1."""
        end = self._value.find(text, position)
        self._kept.append(text[position : len(text) if end < 0 else end])
        return end

    def _after_arguments(self) -> None:
        self._value = ValueEnd(self._depth)
        self._state = _List._after_item

    def _begin(self, name: str) -> None:
        function = {"name": name, "arguments": ""}
        self._pieces.append({"index": self._count, "type": "function", "function": function})
        self._count += 1

    def _go_on(self, arguments: str) -> None:
        """Add to the call's arguments: one piece of each call at a time."""
        index, last = self._count - 1, self._pieces[-1] if self._pieces else {}
        if last.get("index") == index:
            last["function"]["arguments"] += arguments
        else:
            self._pieces.append({"index": index, "function": {"arguments": arguments}})


_State = Callable[[_List, str, int], int]


def _text(choice: Any) -> str | None:
    """Return the text that a piece of a choice adds; None where its shape is no choice's."""
    try:
        delta = choice.get("delta") or {}
        return text_of(delta.get("content") or "")
    except (AttributeError, TypeError):
        return None


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _string(text: str) -> str:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:
        return text
