"""The names of functions, as models spell them: with a namespace in front, with tokens behind."""

from __future__ import annotations

import re
from collections.abc import Collection

PREFIXES = ("", "functions.", "default_api.", "default_api:", "tools.", "call:")
"""What stands in front of a name: gpt-oss and Kimi, Gemini (twice), others, Gemma."""

_BEFORE = re.compile(r"^(?:<[|｜][^<>]*[|｜]>\s*)+")
_NAMESPACE = re.compile(r"^(?:functions|default_api|tools?|call)[.:/]")
_BEHIND = re.compile(r"(?:<[|｜]|:\d+$).*", re.DOTALL)
"""Tokens of a template that a server left in, as after ``send_message<|channel|>commentary``; the
number that Kimi gives to a call."""


def true_name(name: str, known: Collection[str]) -> str:
    """Return which of the ``known`` functions is meant by ``name``; ``name`` itself if none is."""
    if name in known:
        return name
    plain = _NAMESPACE.sub("", _BEHIND.sub("", _BEFORE.sub("", name.strip())))
    return plain if plain in known else name
