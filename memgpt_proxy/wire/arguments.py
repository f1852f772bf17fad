"""JSON as models write it: the arguments of a function call."""

import json
import re
from typing import Any, NoReturn

import orjson

_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
# A string that is cut off behind a bracket may have lost its quote before that: not for us to say.
_TOKEN = re.compile(
    r"""
    (?P<string>"(?:[^"\\]++|\\.)*+")
    | (?P<cut_string>"(?:[^"\\]++|\\.)*+(?<![}\]])\Z)
    | (?P<open>[{\[])
    | (?P<close>[}\]])
    | (?P<trailing>,(?=\s*[}\]]))
    | \b(?P<literal>True|False|None)\b
    """,
    re.DOTALL | re.VERBOSE,
)
_LITERALS = {"True": "true", "False": "false", "None": "null"}
_CLOSING = {"{": "}", "[": "]"}
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments that the text of a function call holds; no text means no arguments.

    Text that is not quite JSON is repaired where it can only mean one thing: literal line ends in
    strings, trailing commas, a code fence around it, Python's literals, an object encoded twice,
    and the closing quote and brackets missing at its very end. None means that it is no object, or
    one that would have to be guessed.
    """
    if not text.strip():
        return {}
    value = parse_json(text)
    if isinstance(value, str):
        value = parse_json(value)
    return value if isinstance(value, dict) else None


def is_json(text: str | bytes) -> bool:
    """Return whether text is JSON as it stands."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def parse_json(text: str) -> Any:
    """Return the value of JSON text, repaired as for parse_arguments; None when it has none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    text = text.strip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    try:
        return _loads(_repaired(text))
    except (ValueError, RecursionError):
        return None


def _repaired(text: str) -> str:
    parts: list[str] = []
    missing: list[str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        parts.append(text[position : match.start()])
        parts.append(_repaired_token(match, missing))
        position = match.end()
    parts.append(text[position:])
    return "".join([*parts, *reversed(missing)])


def _repaired_token(match: re.Match[str], missing: list[str]) -> str:
    """Return the token as it should read; keep account of the brackets that are `missing`."""
    token = match[0]
    match match.lastgroup:
        case "cut_string":
            return token + '"'
        case "trailing":
            return ""
        case "literal":
            return _LITERALS[token]
        case "open":
            missing.append(_CLOSING[token])
        case "close" if missing:
            missing.pop()
        case _:
            pass
    return token


def _loads(text: str) -> Any:
    """As json.loads, with literal control characters, without NaN and lone surrogates."""
    value = json.loads(text, strict=False, parse_constant=_refuse)
    plain = json.dumps(value, ensure_ascii=False)
    if not _SURROGATE.search(plain):
        return value
    return json.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", plain))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
