"""Calls in the notations that models were trained on, each with its own tags around names.

Servers read those of the models that they know, and leave the others in the content. They differ in
what stands between a function's name and its arguments, and in how these are written: as JSON, as
tags for each, or as in Python. So all that is looked for are names and, behind each, arguments.
"""

from __future__ import annotations

import ast
import json
import re
from enum import Enum
from typing import Any

from memgpt_proxy.wire.arguments import parse_arguments, parse_json
from memgpt_proxy.wire.call_forms import ENDS, Call, Vocabulary, skip
from memgpt_proxy.wire.nesting import ValueEnd

_BETWEEN = re.compile(
    r"""(?:
        \s | :\d+ | [":,>)\]'=]
        | <[|｜][^<>]{0,40}[|｜]>        # tokens of a template
        | \[(?:ARGS|CALL_ID)\](?:\w{1,40}(?=\[ARGS\]))?
        | json\b | ```(?:json)? | \((?=\s*\{)
        | (?:arguments|parameters|args|params|input|tool_input|action_input|tool_arguments)\b
        | Action\ Input
    )*""",
    re.VERBOSE,
)
"""What may stand between a name and arguments in JSON."""
_TAGGED = re.compile(
    r"""\s*(?:
        <parameter=(?P<a>[\w.-]+)>(?P<av>.*?)</parameter>
        | <(?P<d>(?:｜DSML｜)?parameter)\ name="(?P<b>[^"]+)"[^>]*>(?P<bv>.*?)</(?P=d)>
        | <arg_key>(?P<c>[^<]+)</arg_key>\s*<arg_value>(?P<cv>.*?)</arg_value>
    )""",
    re.VERBOSE | re.DOTALL,
)
"""One argument between tags: Qwen3-Coder; Claude, MiniMax and DeepSeek V3.2; GLM."""
_OBJECT = re.compile(r"\{\s*[\"'}]")
_TAGGED_BEGIN = re.compile(r"<(?:parameter[= ]|arg_key>|｜DSML｜parameter )")
_APPLIED = re.compile(r"(?:\.call)?\(\s*[A-Za-z_]\w*\s*=\s*[\"']")
_APPLIES = re.compile(r"(?:\.call)?\(")
_BEGUN = re.compile(
    r"""(?:
        \{\s* | \w{0,40}\[[A-Z_]{0,8} | \w{1,40} | `{1,3}\w{0,4} | <[^<>\s]{0,42}
        | (?:\.(?:c|ca|cal|call)?)?(?:\((?:\s*[A-Za-z_]\w{0,40}\s*(?:=\s*)?)?)?
    )\Z""",
    re.VERBOSE,
)
"""What may become the one or the other with more text."""
_WIDEST = 200  # characters between a name and its arguments
_LAST_TAGS = ("parameter>", "</arg_value>")
_BEFORE_TAGS = re.compile(r"[\"'>\s]*")
_NOTABLE = re.compile(
    r'"""(?:[^\\]|\\.)*?"""' r"|'''(?:[^\\]|\\.)*?'''"
    r'|"(?:[^"\\\n]|\\.)*"' r"|'(?:[^'\\\n]|\\.)*'|[()\[\]{}]",
    re.DOTALL,
)  # fmt: skip
_CLOSING = re.compile(
    r"(?:\s|[)\]};,]|</[^<>\s]{1,40}>|<[|｜](?:/|[^<>]{0,40}end)[^<>]{0,20}[|｜]>|\[/TOOL_CALLS\]|"
    + "|".join(map(re.escape, ENDS))
    + r")*(?:(?:</?[^<>\s]{0,40}|`{1,3})\Z)?"
)
_FENCE = re.compile(r"\s*```")
_LITERAL = re.compile(r"true|false|null|-?\d+(?:\.\d+)?|[\[{].*", re.DOTALL)


def written_call(text: str, known: Vocabulary) -> tuple[Call, str] | None:
    """Return the first call that a text holds, and the text behind it; None where there is none.

    A name without anything behind it that could be arguments is no call.
    """
    last_tag = max(map(text.rfind, _LAST_TAGS))  # looked for once: names may come without end
    for found in _names(known).finditer(text):
        position = found.end()
        tagged = _tagged(text, position) if position < last_tag else None
        read = tagged or _in_json(text, position) or _in_python(text, position)
        if read is not None:
            written, arguments, end = read
            return Call(found[0], arguments, written), text[skip(_CLOSING, text, end) :]
    return None


def _names(known: Vocabulary) -> re.Pattern[str]:
    longest_first = sorted(known.functions, key=len, reverse=True)
    any_of = "|".join(re.escape(name) for name in longest_first if name)
    return re.compile(rf"(?<![\w-])(?:{any_of})(?![\w-])")


class Following(Enum):
    """What stands behind a name that is written amid text."""

    OPEN = "may become arguments"
    ARGUMENTS = "arguments: it is called"
    TEXT = "anything else: it is spoken of"


def following(text: str, position: int) -> Following:
    """Return what stands behind the name that ends at `position`, as far as the text tells."""
    start = skip(_BETWEEN, text, position)
    if start == len(text) or _BEGUN.match(text, start):
        return Following.OPEN if start - position < _WIDEST else Following.TEXT
    if _OBJECT.match(text, start) or _TAGGED_BEGIN.match(text, start):
        return Following.ARGUMENTS
    return Following.ARGUMENTS if _APPLIED.match(text, position) else Following.TEXT


def names_in_text(known: Vocabulary) -> re.Pattern[str]:
    """Return what finds a name of these functions in text, or at its end what may become one.

    A name in backticks is only spoken of.
    """
    names = sorted(known.functions, key=len, reverse=True)
    begun = {name[:size] for name in names for size in range(1, len(name))}
    any_of = "|".join(re.escape(name) + r"(?![\w-])" for name in names)
    cut = "|".join(re.escape(each) for each in sorted(begun, key=len, reverse=True))
    return re.compile(rf"(?<![\w`-])(?:{any_of}|(?:{cut})\Z)")


_Read = tuple[str, dict[str, Any] | None, int]
"""The arguments' text, the arguments, and where they end."""


def _in_json(text: str, position: int) -> _Read | None:
    start = skip(_BETWEEN, text, position)
    if not text.startswith("{", start):
        return None
    end = ValueEnd().find(text, start)
    stop = len(text) if end < 0 else end
    written = text[start:stop]
    arguments = parse_arguments(written)
    if arguments is None and (arguments := _literal(written)) is not None:
        written = json.dumps(arguments)
    if "```" in text[position:start]:
        stop = skip(_FENCE, text, stop)
    return written, arguments, stop


def _tagged(text: str, position: int) -> _Read | None:
    position = skip(_BEFORE_TAGS, text, position)
    arguments: dict[str, Any] = {}
    while found := _TAGGED.match(text, position):
        name, value = next(
            (found[key], found[f"{key}v"]) for key in "abc" if found[key] is not None
        )
        arguments[name.strip()] = _value(value)
        position = found.end()
    if not arguments:
        return None
    return json.dumps(arguments, ensure_ascii=False), arguments, position


def _value(text: str) -> Any:
    """Return a value between tags: text stands there as it is, all else in JSON."""
    if _LITERAL.fullmatch(text.strip()) and (value := parse_json(text.strip())) is not None:
        return value
    return text.removeprefix("\n").removesuffix("\n")


def _in_python(text: str, position: int) -> _Read | None:
    begin = _APPLIES.match(text, position)
    if begin is None:
        return None
    depth, stop = 0, len(text)
    for mark in _NOTABLE.finditer(text, begin.end() - 1):
        if len(mark[0]) == 1:
            depth += 1 if mark[0] in "([{" else -1
        if depth == 0:
            stop = mark.end()
            break
    written = text[begin.end() : stop].removesuffix(")")
    arguments = _keywords(written)
    return (written if arguments is None else json.dumps(arguments)), arguments, stop


def _literal(written: str) -> dict[str, Any] | None:
    """Return a dictionary in Python's notation."""
    try:
        value = ast.literal_eval(written)
        json.dumps(value)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None


def _keywords(written: str) -> dict[str, Any] | None:
    """Return Python's keyword arguments; None for others."""
    try:
        call = ast.parse(f"f({written})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        given = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
        json.dumps(given)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return given
