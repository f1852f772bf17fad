"""The forms in which models write a function call as plain text, and how they begin.

A form is recognised by its first tokens alone, up to where nothing else can be meant: the name of a
known function followed by its arguments, or between tags that are for calls only. What is between
such tags is read by ``written_calls``.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

from memgpt_proxy.wire.arguments import parse_arguments, parse_json
from memgpt_proxy.wire.call_names import PREFIXES, true_name

_NAME, _WORD, _APPLIED, _ARGUMENTS, _TEXT = "NAME", "WORD", "APPLIED", "ARGUMENTS", "TEXT"
_OWN_KEY, _OWN_NAME, _OWN_TAG = "OWN_KEY", "OWN_NAME", "OWN_TAG"
_KEYWORD, _QUOTE, _TAG = "KEYWORD", "QUOTE", "TAG"

_NAME_KEYS = ("name", "function", "tool_name", "tool", "action", "recipient_name")
_ARGUMENT_KEYS = (
    "arguments", "parameters", "args", "params", "input",
    "tool_arguments", "tool_input", "action_input",
)  # fmt: skip
_FUNCTION_FORMS = (
    *(f'{{ "{key}" : NAME , ARGUMENTS' for key in _NAME_KEYS),
    '{ "function" : { "name" : NAME , ARGUMENTS',
    '{ "function_call" : { "name" : NAME , ARGUMENTS',
    '{ "type" : "function" , "name" : NAME , ARGUMENTS',
    '{ "type" : "function" , "function" : NAME , ARGUMENTS',
    '{ "type" : "function" , "function" : { "name" : NAME , ARGUMENTS',
)
_LISTED_FORMS = (
    *_FUNCTION_FORMS,
    *(form.replace("{ ", '{ "id" : TEXT , ', 1) for form in _FUNCTION_FORMS),
    '{ "tool_call_id" : TEXT , "tool_name" : NAME , ARGUMENTS',
)
_FORMS = (
    *_FUNCTION_FORMS,
    *("[ " + form for form in _LISTED_FORMS),
    *('{ "tool_calls" : [ ' + form for form in _LISTED_FORMS),
    '{ "tool_uses" : [ { "recipient_name" : NAME , ARGUMENTS',
    "APPLIED {",
)
_WRITTEN_FORMS = (
    'WORD { "',
    "WORD [ARGS]",
    "<function= WORD",
    "<function( WORD",
    '<function_name=" WORD',
    '<invoke_name=" WORD',
    '<｜DSML｜invoke_name=" WORD',
    "{ 'name' : OWN_NAME",
    "OWN_TAG",
    "APPLIED KEYWORD",
    "APPLIED QUOTE",
    "[ APPLIED KEYWORD",
)
"""What ``written_calls`` reads; an underscore is a space."""
_SUSPECT_FORMS = ("{ ARGUMENTS :", "{ OWN_KEY :")
"""Only the whole of it says whether it is a call."""

_FENCES = {
    "```json": "```",
    "```tool_call": "```",
    "```tool_code": "```",
    "```python": "```",
    "```xml": "```",
    "```": "```",
}
_TAGS = {
    # Mistral; Llama 3; Command R; Phi-4-mini
    "[TOOL_CALLS]": "[/TOOL_CALLS]",
    "<|python_tag|>": "<|eom_id|>",
    "<|START_ACTION|>": "<|END_ACTION|>",
    "functools": "<|end|>",
    # DeepSeek V3; gpt-oss, with and without its tokens; ReAct
    "function<｜tool▁sep｜>": "<｜tool▁call▁end｜>",
    "<|start|>assistant": "<|end|>",
    "<|channel|>commentary": "<|call|>",
    "commentary to=": "<|call|>",
    "to=": "<|call|>",
    "Action:": "Observation:",
}
_ANY_TAG = re.compile(
    r"<[|｜]?[\w:▁|｜-]{0,24}(?:tool[_▁-]?(?:call|use)|function[_▁-]?call)[\w▁|｜-]{0,24}>",
    re.IGNORECASE,
)
"""What all others have: Hermes, Qwen, GLM, Granite, Phi-4, Nemotron, Jamba, Kimi, DeepSeek, Claude,
MiniMax, Seed, LongCat, LFM2, FunctionGemma, and whoever imitates them."""
_TAG_BEGUN = re.compile(r"<[|｜]?[\w:▁|｜-]{0,64}\Z")
_FENCE = "```"
_CLOSERS = {**_FENCES, **_TAGS}
_AROUND_OWN = frozenset({"```python", "Action:"})
"""Where the name of another function may be for the person, or for the client to read."""
ENDS = (
    "</function>", "</s>",
    "<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<|call|>", "<|return|>", "<|endoftext|>",
)  # fmt: skip
"""What may stand behind any call, and tokens that a server may leave at the end of a text."""

_SPACE = re.compile(r"\s*")
_ANY_TEXT = re.compile(r'"[^"\\]*"')
_KEYWORD_BEGUN = re.compile(r"([A-Za-z_]\w*)(\s*)(=(?!=))?")
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
    CALL = "is a call in JSON"
    WRITTEN = "is a call in another notation"
    SUSPECT = "is a call or not when it is whole"
    OTHER = "is no call"


@dataclass(slots=True)
class _Node:
    """The tokens that may come next, or what it is that ends here."""

    next: dict[str, "_Node"] = field(default_factory=dict)
    ends: Verdict = Verdict.OTHER


def _trie() -> _Node:
    root = _Node()
    for verdict, forms in (
        (Verdict.CALL, _FORMS),
        (Verdict.WRITTEN, _WRITTEN_FORMS),
        (Verdict.SUSPECT, _SUSPECT_FORMS),
    ):
        for form in forms:
            node = root
            for token in form.split(" "):
                spelled = token.replace("_name=", " name=")
                node = node.next.setdefault(spelled, _Node())
            node.ends = verdict
    return root


_ROOT = _trie()


class Vocabulary:
    """The functions that may be called, and how their names are spelled in a call.

    Args:
        functions: Their names.
        own: Those of them that mean nothing else wherever they stand in the place of a name.
    """

    __slots__ = ("_beginning", "_spellings", "first", "functions", "own")

    def __init__(self, functions: Collection[str], own: Collection[str] = ()) -> None:
        self.functions = frozenset(functions)
        self.own = frozenset(own)
        words = _prefixed(self.functions)
        own_words = _prefixed(self.own)
        applied = [f"{word}(" for word in words]
        applied += [f"{word}.call(" for word in own_words]
        applied += [f"print({word}(" for word in own_words]
        spellings: dict[str, Sequence[str]] = {
            _NAME: tuple(f'"{word}"' for word in words),
            _WORD: tuple(words),
            _APPLIED: tuple(applied),
            _ARGUMENTS: tuple(f'"{key}"' for key in _ARGUMENT_KEYS),
            _OWN_KEY: tuple(f'"{name}"' for name in self.own),
            _OWN_TAG: tuple(f"<{name}{end}" for name in self.own for end in "> "),
            _OWN_NAME: tuple(f"'{name}'" for name in self.own),
        }
        self._spellings = {token: _by_first(told) for token, told in spellings.items()}
        wrappers = (*_FENCES, *_TAGS) if words else tuple(_FENCES)
        self._beginning: dict[str, list[str]] = {"<": [_TAG] if words else []}
        for token in (*_ROOT.next, *wrappers):
            for first in self._spellings.get(token, token[0]):
                self._beginning.setdefault(first, []).append(token)
        self.first = frozenset(self._beginning)
        """The characters that a call can begin with."""

    def beginning(self, first: str) -> Sequence[str]:
        """Return the tokens that a call can begin with, by its first character."""
        return self._beginning.get(first, ())

    def spellings(self, token: str, first: str) -> Sequence[str]:
        """Return how a token may be written that begins with this character."""
        by_first = self._spellings.get(token)
        if by_first is None:
            return (token,) if token[0] == first else ()
        return by_first.get(first, ())

    def only_own(self) -> "Vocabulary":
        """Return the same without all functions but our own."""
        return vocabulary(tuple(sorted(self.own)), tuple(sorted(self.own)))

    def true(self, name: str) -> str:
        """Return which function is meant by a name as it was written."""
        return true_name(name, self.functions)


def _by_first(spellings: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return spellings by the character that they begin with."""
    firsts = {each[0] for each in spellings}
    return {first: tuple(each for each in spellings if each[0] == first) for first in firsts}


def _prefixed(names: Collection[str]) -> list[str]:
    return [prefix + name for prefix in PREFIXES for name in sorted(names) if name]


@lru_cache(maxsize=64)
def vocabulary(functions: tuple[str, ...], own: tuple[str, ...] = ()) -> Vocabulary:
    """Return the vocabulary of these names, the same for the same ones."""
    return Vocabulary(functions, own)


class CallOpening:
    """Decides whether text begins like a call of one of the functions.

    `read` is given the same text again, longer each time; it goes on where it stopped. Once it has
    said CALL, `start` is where its JSON begins, which is just the arguments if it is `applied` like
    `name({…})`, `end` is where what was read ends, before the arguments, and `closers` is what
    should follow, last first.

    Args:
        functions: Their names, or these as a vocabulary.
        fenced: It stands inside of a code fence, where tags may be shown to a person.
    """

    __slots__ = (
        "_amid_fence", "_begun", "_fenced", "_node", "_seen", "_tagged",
        "applied", "closers", "known", "name", "start",
    )  # fmt: skip

    def __init__(self, functions: Collection[str] | Vocabulary, *, fenced: bool = False) -> None:
        if not isinstance(functions, Vocabulary):
            functions = vocabulary(tuple(functions))
        self.name = ""
        self.applied = False
        self.start = -1
        self.closers: list[str] = []
        self.known = functions
        self._begun: list[str] = []
        self._amid_fence = self._fenced = fenced
        self._seen = 0
        self._tagged = False
        self._node = _ROOT

    @property
    def is_begun(self) -> bool:
        """Whether more than a name was read by now, or may have been."""
        return self.start >= 0 or bool(self._begun)

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
                return self._left()
            self._take(token, spelling)
            if token == _WORD and self._tagged:  # how the arguments follow differs
                return Verdict.WRITTEN
        return self._node.ends

    def _left(self) -> Verdict:
        """Return what a text is that has left all forms: with a name of our own, still a call."""
        named = self.name in self.known.own and (self.start >= 0 or self._tagged)
        return Verdict.WRITTEN if named else Verdict.OTHER

    def _take(self, token: str, spelling: str) -> None:
        if self._node is _ROOT and (token == _TAG or token in _CLOSERS):
            self._take_wrapper(token, spelling)
            return
        if token == _APPLIED:
            self.applied = True
            self.closers.append(")")
        elif self.start < 0 and token != _WORD:
            self.start = self._seen
        if token in (_NAME, _WORD, _APPLIED, _OWN_NAME, _OWN_TAG):
            written = spelling.removeprefix("print(").strip("\"'(<> ").removesuffix(".call")
            self.name = self.known.true(written)
        self._node = self._node.next[token]
        self._seen += len(spelling)

    def _take_wrapper(self, token: str, spelling: str) -> None:
        self._begun.append(spelling)
        self.closers.append(_CLOSERS.get(token) or _closing(spelling))
        if token in _AROUND_OWN:
            self.known = self.known.only_own()
        self._fenced |= token in _FENCES
        self._tagged |= token not in _FENCES and not self._fenced
        self._seen += len(spelling)

    def _longest(self, rest: str) -> tuple[str, str, bool]:
        """Return the longest token that `rest` begins with, and whether more text may change it."""
        best, best_spelling = "", ""
        for token in self._expected(rest[0]):
            for spelling in self._spellings(token, rest):
                if len(spelling) > len(rest) and spelling.startswith(rest):
                    return token, spelling, True
                if len(spelling) > len(best_spelling) and rest.startswith(spelling):
                    best, best_spelling = token, spelling
        return best, best_spelling, False

    def _expected(self, first: str) -> Iterable[str]:
        if self._node is not _ROOT:
            return self._node.next
        tokens = self.known.beginning(first)
        return (token for token in tokens if not self._is_open(token)) if self._begun else tokens

    def _is_open(self, token: str) -> bool:
        return token in self._begun or (token in _FENCES and _FENCE in self.closers)

    def _spellings(self, token: str, rest: str) -> Sequence[str]:
        if token == _TEXT:
            return _text_spellings(rest)
        if token == _NAME and self._tagged:  # whatever it is, it is meant to be called
            return (*self.known.spellings(_NAME, rest[0]), *_text_spellings(rest))
        if token in (_KEYWORD, _QUOTE):
            return self._of_python(token, rest)
        if token == _TAG:
            return _tag_spellings(rest)
        spellings = self.known.spellings(token, rest[0])
        if token == _WORD:
            return [word for word in spellings if not _goes_on(rest, len(word))]
        return spellings

    def _of_python(self, token: str, rest: str) -> Sequence[str]:
        """How arguments begin in Python's notation, in which others are only spoken of.

        So it is with our own inside of a code fence, and in one of Python without a keyword.
        """
        is_code = self._amid_fence or (token == _QUOTE and "```python" in self._begun)
        if self.name not in self.known.own or is_code:
            return ()
        return _keyword_spellings(rest) if token == _KEYWORD else ('"', "'")


def _goes_on(text: str, position: int) -> bool:
    """Return whether the word that ends there in `text` goes on."""
    return text[position : position + 1].isalnum() or text.startswith("_", position)


def _tag_spellings(rest: str) -> Sequence[str]:
    """The tag around calls that `rest` begins with, or one that it may become."""
    if tag := _ANY_TAG.match(rest):
        return (tag[0],)
    return (f"{rest}>",) if _TAG_BEGUN.match(rest) else ()


def _closing(tag: str) -> str:
    """Return what closes a tag."""
    ended = tag.replace("begin", "end").replace("start", "end")
    if ended != tag:
        return ended
    return f"<|/{tag[2:]}" if tag.startswith("<|") else f"</{tag[1:]}"


def _text_spellings(rest: str) -> Sequence[str]:
    """The JSON string that `rest` begins with, or one that it may become."""
    if text := _ANY_TEXT.match(rest):
        return (text[0],)
    is_begun = len(rest) < _WIDEST and _ANY_TEXT.match(f'{rest}"')
    return (f'{rest}"',) if is_begun else ()


def _keyword_spellings(rest: str) -> Sequence[str]:
    """The beginning of Python's ``name=value`` at `rest`, or one that it may become."""
    begun = _KEYWORD_BEGUN.match(rest)
    if begun is None:
        return ()
    if begun[3]:
        return (begun[0],)
    return (f"{rest}=",) if begun.end() == len(rest) < _WIDEST else ()


def skip_space(text: str, position: int) -> int:
    """Return where the white space at `position` ends."""
    return skip(_SPACE, text, position)


def skip(what: re.Pattern[str], text: str, position: int) -> int:
    """Return where the ``what`` at `position` ends."""
    match = what.match(text, position)
    return match.end() if match else position


def calls_in(text: str, opening: CallOpening) -> list[Call]:
    """Return the calls, at least one, that the JSON text behind an `opening` holds."""
    if opening.applied:
        return [Call(opening.name, parse_arguments(text), text)]
    return calls_of(parse_json(text), opening.known) or [Call(opening.name, None, text)]


def calls_of(value: Any, known: Vocabulary) -> list[Call]:
    """Return the calls that a JSON value of one of the forms describes."""
    if isinstance(value, dict):
        value = value.get("tool_calls") or value.get("tool_uses") or value
    items = value if isinstance(value, list) else [value]
    return [call for item in items if (call := _call(item, known))]


def _call(item: Any, known: Vocabulary) -> Call | None:
    """The call that an object of one of the forms describes."""
    if not isinstance(item, dict):
        return None
    inner = item.get("function_call", item.get("function"))
    fields = inner if isinstance(inner, dict) else item
    names = (key for key in _NAME_KEYS if isinstance(fields.get(key), str))
    key = next(names, None)
    if key is None:
        return _keyed(item, known)
    name = known.true(fields[key])
    given = next((each for each in _ARGUMENT_KEYS if each in fields), None)
    if given is None:
        rest = {each: value for each, value in fields.items() if each != key}
        arguments: Any = rest if name in known.own else None
    else:
        arguments = fields[given]
    if arguments is None:
        return Call(name, {}, "")
    return _with_arguments(name, arguments)


def _keyed(item: dict[str, Any], known: Vocabulary) -> Call | None:
    """The call of an object whose only key is a name of our own."""
    name, arguments = next(iter(item.items()), ("", None))
    return _with_arguments(name, arguments) if name in known.own and len(item) == 1 else None


def _with_arguments(name: str, arguments: Any) -> Call:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return Call(name, parse_arguments(text), text)


def known_calls(text: str, known: Vocabulary) -> Iterator[Call]:
    """Return the calls of known functions that a JSON text is; none where it is something else."""
    return (call for call in calls_of(parse_json(text), known) if call.name in known.functions)
