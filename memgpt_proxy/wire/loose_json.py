"""JSON as some servers write it: with halves of characters, and numbers that are none.

A server that cuts its text at UTF-16 units sends a half of a pair in each of two events, and one
whose logarithms run out of range writes ``-Infinity``, as Python's ``json`` does by default.
Clients read both.
"""

import re
from typing import Any

import orjson

# A string that does not end is taken to the end: else each quote in it would be tried.
_STRING_OR_CONSTANT = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|-?Infinity|NaN', re.DOTALL)
_PAIR_OR_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_UNKNOWN_CHARACTER = rb"\ufffd"


def loads(text: bytes) -> Any:
    """Return the value of a JSON text, a half of a character as U+FFFD, no number as None.

    Raises orjson.JSONDecodeError where it is no JSON all the same.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.loads(_STRING_OR_CONSTANT.sub(_mended, text))


def _mended(found: re.Match[bytes]) -> bytes:
    token = found[0]
    return _PAIR_OR_ESCAPE.sub(_whole, token) if token.startswith(b'"') else b"null"


def _whole(found: re.Match[bytes]) -> bytes:
    return _UNKNOWN_CHARACTER if found[1] else found[0]
