"""Reasoning that comes apart from the content, gathered as it has to go back with its message.

Models think on from one call to the next, and many servers want the thoughts back for that: whole,
and in the field that they came in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXTS = ("reasoning_content", "reasoning")
FIELDS = (*_TEXTS, "reasoning_details")
"""The fields of a message or a delta that hold it."""
_NAMES = frozenset(FIELDS)

_PIECES = frozenset({"text", "summary", "data"})
"""What of OpenRouter's details comes in pieces; all else of one comes whole."""

_SILENT = " "
"""Stands for reasoning that is not there: DeepSeek V4 Pro does not take an empty text."""


class Reasoning:
    """The reasoning of one message, while it arrives."""

    __slots__ = ("_details", "_texts")

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._details: list[dict[str, Any]] = []

    def add(self, delta: Mapping[str, Any]) -> bool:
        """Take what a delta has of it; return whether that is anything."""
        found = False
        for name in _TEXTS:
            if piece := delta.get(name):
                found = True
                if isinstance(piece, str):
                    self._texts.setdefault(name, []).append(piece)
        if details := delta.get("reasoning_details"):
            found = True
            for detail in details if isinstance(details, list) else ():
                if isinstance(detail, dict):
                    self._add_detail(detail)
        return found

    def fields(self) -> dict[str, Any]:
        """Return it as fields of an assistant's message; empty where there was none."""
        fields: dict[str, Any] = {name: "".join(parts) for name, parts in self._texts.items()}
        if self._details:
            fields["reasoning_details"] = [_whole(detail) for detail in self._details]
        return fields

    def _add_detail(self, piece: dict[str, Any]) -> None:
        """Join pieces of one block, which a signature that comes last may be about."""
        known = next((each for each in reversed(self._details) if _are_one(each, piece)), None)
        if known is None:
            self._details.append(known := {})
        for name, value in piece.items():
            if name in _PIECES and isinstance(value, str):
                known.setdefault(name, []).append(value)
            elif value is not None or name not in known:
                known[name] = value


def without_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without its reasoning; the very same where it has none."""
    if _NAMES.isdisjoint(message):
        return message
    return {name: value for name, value in message.items() if name not in FIELDS}


def with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """Return an assistant's message with ``reasoning_content``, whatever is known of it."""
    if message.get("role") != "assistant" or message.get("reasoning_content"):
        return message
    text = message.get("reasoning")
    return {**message, "reasoning_content": text if text and isinstance(text, str) else _SILENT}


def _are_one(known: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    """Return whether two pieces are of one block; a piece without an index is a block."""
    if piece.get("index") is None or known.get("index") != piece["index"]:
        return False
    ids = known.get("id"), piece.get("id")
    return known.get("type") == piece.get("type") and (None in ids or ids[0] == ids[1])


def _whole(detail: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "".join(value) if name in _PIECES and isinstance(value, list) else value
        for name, value in detail.items()
    }
