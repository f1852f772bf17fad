"""The calls of a client's own tools, and which of them have got their results."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.records import Node

_CALLS, _RESULT = '"tool_calls"', '"tool_call_id"'


def call_ids(message: Message) -> list[str]:
    """Return the ids of a message's calls."""
    return [call["id"] for call in message.get("tool_calls") or ()]


def open_calls(nodes: Sequence[Node]) -> list[str]:
    """Return the ids of calls in ``nodes`` that nothing behind them answers: the client's to run.

    Some backends give the calls of each answer the same ids anew.
    """
    telling = [node.entries for node in nodes if _CALLS in node.entries or _RESULT in node.entries]
    entries: list[Message] = [entry for each in telling for entry in orjson.loads(each)]
    waiting: list[str] = []
    for entry in entries:
        if (answered := entry.get("tool_call_id")) in waiting:
            waiting.remove(answered)
        waiting += call_ids(entry)
    return waiting
