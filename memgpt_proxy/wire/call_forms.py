"""The forms in which models write a function call as plain text, and how they begin.

A form is recognised by its first tokens alone, up to where nothing else can be meant: the name of a
known function followed by its arguments.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from memgpt_proxy.wire.arguments import parse_arguments, parse_json

_NAME, _ARGUMENTS, _APPLIED, _TEXT = "NAME", "ARGUMENTS", "APPLIED", "TEXT"
_FUNCTION_FORMS = (
    '{ "name" : NAME , ARGUMENTS',
    '{ "function" : NAME , ARGUMENTS',
    '{ "function" : { "name" : NAME , ARGUMENTS',
    '{ "type" : "function" , "name" : NAME , ARGUMENTS',
    '{ "type" : "function" , "function" : NAME , ARGUMENTS',
    '{ "type" : "function" , "function" : { "name" : NAME , ARGUMENTS',
)
_LISTED_FORMS = (
    *_FUNCTION_FORMS,
    *(form.replace("{ ", '{ "id" : TEXT , ', 1) for form in _FUNCTION_FORMS),
)
_FORMS = (
    *_FUNCTION_FORMS,
    *("[ " + form for form in _LISTED_FORMS),
    *('{ "tool_calls" : [ ' + form for form in _LISTED_FORMS),
    "APPLIED {",
)
_CLOSERS = {
    "```json": "```",
    "```tool_call": "```",
    "```": "```",
    "<tool_call>": "</tool_call>",
    "<function_call>": "</function_call>",
}
_SPACE = re.compile(r"\s*")
_ANY_TEXT = re.compile(r'"[^"\\]*"')
_LONGEST = 4096  # characters that a form may begin with: white space knows no bound
_WIDEST = 256  # characters looked at for one token; function names have up to 64


@dataclass(frozen=True, slots=True)
class Call:
    """A function call found in text; `arguments` is None where `text` cannot be read as such.

    `cut`: the text was cut short inside of it.
    """

    name: str
    arguments: dict[str, Any] | None
    text: str
    cut: bool = False


class Verdict(Enum):
    """What the beginning of a text says about the whole of it."""

    OPEN = "may become a call"
    CALL = "is a call"
    OTHER = "is no call"


@dataclass(slots=True)
class _Node:
    """The tokens that may come next."""

    next: dict[str, "_Node"] = field(default_factory=dict)


def _trie() -> _Node:
    root = _Node()
    for form in _FORMS:
        node = root
        for token in form.split(" "):
            node = node.next.setdefault(token, _Node())
    return root


_ROOT = _trie()


class CallOpening:
    """Decides whether text begins like a call of one of `functions`.

    `read` is given the same text again, longer each time; it goes on where it stopped. Once it has
    said CALL, `start` is where its JSON begins, which is just the arguments if it is `applied` like
    `name({…})`, `end` is where what was read ends, before the arguments, and `closers` is what
    should follow, last first.
    """

    __slots__ = ("_functions", "_node", "_seen", "applied", "closers", "name", "start")

    def __init__(self, functions: Collection[str]) -> None:
        self.name = ""
        self.applied = False
        self.start = -1
        self.closers: list[str] = []
        self._seen = 0
        self._functions = functions
        self._node = _ROOT

    @property
    def end(self) -> int:
        """Where what was read by now ends."""
        return self._seen

    def read(self, text: str, begin: int = 0) -> Verdict:
        """Return what the text from `begin` on is so far."""
        while self._node.next:
            position = skip_space(text, begin + self._seen)
            self._seen = position - begin
            if self._seen > _LONGEST:
                return Verdict.OTHER
            if position == len(text):
                return Verdict.OPEN
            token, spelling, may_grow = self._longest(text[position : position + _WIDEST])
            if may_grow:
                return Verdict.OPEN
            if not spelling:
                return Verdict.OTHER
            self._take(token, spelling)
        return Verdict.CALL

    def _take(self, token: str, spelling: str) -> None:
        if token in _CLOSERS:
            self.closers.append(_CLOSERS[token])
        elif token == _APPLIED:
            self.applied = True
            self.closers.append(")")
        elif self.start < 0:
            self.start = self._seen
        if token in (_NAME, _APPLIED):
            self.name = spelling.strip('"(')
        self._node = self._node.next.get(token, _ROOT)
        self._seen += len(spelling)

    def _longest(self, rest: str) -> tuple[str, str, bool]:
        """Return the longest token that `rest` begins with, and whether more text may change it."""
        best, best_spelling = "", ""
        for token in self._expected():
            for spelling in self._spellings(token, rest):
                if len(spelling) > len(rest) and spelling.startswith(rest):
                    return token, spelling, True
                if len(spelling) > len(best_spelling) and rest.startswith(spelling):
                    best, best_spelling = token, spelling
        return best, best_spelling, False

    def _expected(self) -> Collection[str]:
        if self._node is not _ROOT:
            return self._node.next
        wrappers = [token for token in _CLOSERS if _CLOSERS[token] not in self.closers]
        return [*self._node.next, *wrappers]

    def _spellings(self, token: str, rest: str) -> Collection[str]:
        match token:
            case "NAME":
                return [f'"{name}"' for name in self._functions]
            case "APPLIED":
                return [f"{name}(" for name in self._functions]
            case "ARGUMENTS":
                return ('"arguments"', '"parameters"')
            case "TEXT":
                return _text_spellings(rest)
            case _:
                return (token,)


def _text_spellings(rest: str) -> Collection[str]:
    """The JSON string that `rest` begins with, or one that it may become."""
    if text := _ANY_TEXT.match(rest):
        return (text[0],)
    is_begun = len(rest) < _WIDEST and _ANY_TEXT.match(f'{rest}"')
    return (f'{rest}"',) if is_begun else ()


def skip_space(text: str, position: int) -> int:
    """Return where the white space at `position` ends."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def first_characters(functions: Collection[str]) -> frozenset[str]:
    """Return the characters that a call can begin with."""
    return frozenset("{[`<").union(name[0] for name in functions if name)


def calls_in(text: str, opening: CallOpening) -> list[Call]:
    """Return the calls, at least one, that the JSON text behind an `opening` holds."""
    if opening.applied:
        return [Call(opening.name, parse_arguments(text), text)]
    value = parse_json(text)
    if isinstance(value, dict) and "tool_calls" in value:
        value = value["tool_calls"]
    items = value if isinstance(value, list) else [value]
    calls = [call for item in items if (call := _call(item))]
    return calls or [Call(opening.name, None, text)]


def _call(item: Any) -> Call | None:
    """The call that an object of one of the forms describes."""
    if not isinstance(item, dict):
        return None
    function = item.get("function")
    fields = function if isinstance(function, dict) else item
    name = fields.get("name") or fields.get("function")
    if not isinstance(name, str):
        return None
    arguments = fields.get("arguments", fields.get("parameters"))
    if arguments is None:
        return Call(name, {}, "")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return Call(name, parse_arguments(text), text)
