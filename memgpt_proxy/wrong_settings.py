"""What is said of wrong settings, to who wrote them: in one line, never with a key in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

_NO_URL = ("url_parsing", "url_scheme")
"""Types of errors that a value has which is no URL."""

_CHOICES = ("bool_parsing", "enum", "literal_error")
"""Types of errors that a value has which is none of some."""

_CHOICE = re.compile("'([^']*)'")
"""A value that may be set, as pydantic tells of all that may."""

_WORDS = {
    "bool_parsing": "Input should be 'true' or 'false'",
    "dict_type": "should be names with values",
    "frozen_set_type": "should be a list",
    "missing": "is missing",
    "model_type": "should be names with values",
    "tuple_type": "should be a list",
}
"""By the type of an error: what pydantic says of it in the words of Python."""


REPLICAS_APART = (
    "redis_url is set without namespace_secret: replicas, each with a secret of its own, share no "
    "limits and no live events. Set the same one for all of them"
)
"""What is no error: one gateway alone may be set so."""


class SettingsError(Exception):
    """Settings, or a file of them, cannot be used; the message says why, in one line."""


def wrong_value(detail: Mapping[str, Any]) -> str:
    """Return what one of the errors of a ``ValidationError`` says; never the value."""
    if detail["type"] in _NO_URL and not str(detail["input"]).startswith(("http://", "https://")):
        return "has to be a URL that begins with http:// or https://"
    said = str(_WORDS.get(detail["type"], detail["msg"])).removeprefix("Value error, ")
    choices = _CHOICE.findall(said) if detail["type"] in _CHOICES else ()
    return said + "".join(f"; did you mean {each!r}?" for each in _near(detail["input"], choices))


def unknown_name(kind: str, name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return that there is no setting (or what ``kind`` says) of a name, and which is near.

    Args:
        prefix: What a near name is written with, and is not compared.
    """
    near = _near(name.lower().removeprefix(prefix.lower()), known)
    meant = "".join(f"; did you mean {prefix}{each}?" for each in near)
    return f"there is no such {kind}{meant}"


def _near(given: object, known: Iterable[str]) -> list[str]:
    """Return the one of ``known`` that was probably meant, if any."""
    by_spelling = {each.lower(): each for each in known}
    plain = str(given).lower().replace("-", "_")
    return [by_spelling[each] for each in get_close_matches(plain, by_spelling, n=1)]
