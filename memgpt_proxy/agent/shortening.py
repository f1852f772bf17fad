"""Shortening a prompt's messages where whole ones can no longer be evicted.

Pure: a message in, a shorter one out, never another role or another id, so that each
call keeps its result. What is cut here is cut for a prompt; storage holds all of it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

import orjson

from memgpt_proxy.memory.alerts import ARCHIVED, PREFIX
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message

LENGTHS = tuple(2**power for power in range(18, 1, -1))
"""Tokens that texts are cut to, longest first: powers of two, since a length that followed
the window to the token would cut the same text otherwise in each prompt."""

_EVICTED = "(This result was evicted from the queue. Make the call again if you need it.)"
_LEFT_OUT = "(An image, a sound or a file was left out: it does not fit the context window.)"
_NOTE = 32
"""Tokens of a cut text below which a note about it would take too much of it."""
_SLACK = 4
"""Tokens that a cut may miss its length by, for a text joined to a note counts otherwise."""


def without_result(message: Message) -> Message:
    """Return a call's result emptied; another message as it is."""
    if message["role"] != "tool" or message["content"] == _EVICTED:
        return message
    return {**message, "content": _EVICTED}


def without_calls(message: Message, ids: Collection[str]) -> Message | None:
    """Return ``message`` without these calls, or None where it is the result of one."""
    if message["role"] == "tool":
        return None if message["tool_call_id"] in ids else message
    calls = message.get("tool_calls") or ()
    kept = [call for call in calls if call["id"] not in ids]
    if len(kept) == len(calls):
        return message
    shorter = {**message, "tool_calls": kept}
    if not kept:
        del shorter["tool_calls"]
        shorter["content"] = message.get("content") or "…"
    return shorter


def call_ids(message: Message) -> list[str]:
    """Return the ids of a message's calls."""
    return [call["id"] for call in message.get("tool_calls") or ()]


class MediaCutter:
    """Leaves out images and the like: the first ``most`` of all messages it is given.

    Attributes:
        found: How many it has left out.
    """

    def __init__(self, most: int) -> None:
        self.found = 0
        self._most = most

    def message(self, message: Message) -> Message:
        """Return ``message`` with a note in place of what goes."""
        content = message.get("content")
        if not isinstance(content, list) or self.found == self._most:
            return message
        return {**message, "content": [self._part(part) for part in content]}

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        if isinstance(part.get("text"), str) or self.found == self._most:
            return part
        self.found += 1
        return {"type": "text", "text": _LEFT_OUT}


class TextCutter:
    """Cuts every text of a message that is longer than ``most`` tokens."""

    def __init__(self, most: int, counter: TokenCounter) -> None:
        self.most = most
        self._counter = counter

    def text(self, text: str, note: str = "") -> str:
        """Return ``text``, at most ``most`` tokens of it, with ``note`` where it is cut."""
        longest = self.most + _SLACK
        if self._counter.text(text, longest) <= longest:
            return text
        end = "…" if self.most < _NOTE or not note else f"… ({note})"
        head, _ = self._counter.head(text, max(0, self.most - self._counter.text(end)))
        return f"{head.rstrip()}{end}"

    def message(self, message: Message) -> Message:
        """Return ``message`` with its texts and its calls' arguments cut."""
        shorter = dict(message)
        if content := message.get("content"):
            shorter["content"] = self._content(content, message["role"])
        if calls := message.get("tool_calls"):
            shorter["tool_calls"] = [self._call(call) for call in calls]
        if isinstance(called := message.get("function_call"), dict):
            shorter["function_call"] = self._function(called)
        return message if shorter == message else shorter

    def _content(self, content: Any, role: str) -> Any:
        if isinstance(content, str):
            return self.text(content, _holder(content, role))
        return [self._part(part, role) for part in content]

    def _part(self, part: dict[str, Any], role: str) -> dict[str, Any]:
        text = part.get("text")
        if not isinstance(text, str):
            return part
        return {**part, "text": self.text(text, _holder(text, role))}

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        kinds = {kind: call[kind] for kind in ("function", "custom") if call.get(kind)}
        return {**call, **{kind: self._function(called) for kind, called in kinds.items()}}

    def _function(self, function: dict[str, Any]) -> dict[str, Any]:
        shorter = dict(function)
        if isinstance(arguments := function.get("arguments"), str):
            shorter["arguments"] = self._arguments(arguments)
        if isinstance(given := function.get("input"), str):
            shorter["input"] = self.text(given)
        return shorter

    def _arguments(self, arguments: str) -> str:
        """Return arguments that are still JSON, for backends that parse them."""
        longest = self.most + _SLACK
        if self._counter.text(arguments, longest) <= longest:
            return arguments
        with suppress(orjson.JSONDecodeError, AttributeError):
            fields = orjson.loads(arguments).items()
            cut = {name: self.text(v) if isinstance(v, str) else v for name, v in fields}
            shorter = orjson.dumps(cut).decode()
            if self._counter.text(shorter, longest * 2) <= longest * 2:
                return shorter
        return orjson.dumps({"cut": self.text(arguments)}).decode()


def _holder(text: str, role: str) -> str:
    """Return the note that says where the whole text is."""
    if ARCHIVED in text:
        return "cut here; archival storage holds all of it"
    if role in ("user", "assistant") and not text.startswith(PREFIX):
        return "cut here; recall storage holds all of it"
    return "cut here to fit the context window"
