"""Chunks merged to the completion they stream, all choices of them."""

from __future__ import annotations

from typing import Any

from memgpt_proxy.wire.chat import Chunk

_IN_PLACE_OF_TEXT = ("tool_calls", "function_call", "refusal", "audio")


class ChoiceMerger:
    """Gathers the choices of a streamed completion."""

    def __init__(self) -> None:
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        for choice in chunk.get("choices") or ():
            index = choice.get("index") or 0
            known = self._choices.setdefault(index, _empty(index))
            _merge(known["message"], dict(choice.get("delta") or {}))
            if logprobs := choice.get("logprobs"):
                known["logprobs"] = _merged(known["logprobs"], logprobs)
            if reason := choice.get("finish_reason"):
                known["finish_reason"] = reason

    def choices(self, finish_reason: str = "stop") -> list[dict[str, Any]]:
        """Return the choices as a completion that is not streamed has them.

        Args:
            finish_reason: Of those for which none was told.
        """
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            message = choice["message"]
            choice["finish_reason"] = choice["finish_reason"] or finish_reason
            if message["content"] == "" and any(message.get(name) for name in _IN_PLACE_OF_TEXT):
                message["content"] = None  # streams begin with an empty text, whatever follows
        return choices


def _empty(index: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": None}


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            _merge_calls(message.setdefault(name, []), value or [])
        elif name == "role":
            message[name] = value or message[name]
        else:
            message[name] = _merged(message.get(name), value)


def _merge_calls(calls: list[dict[str, Any]], deltas: list[dict[str, Any]]) -> None:
    for delta in deltas:
        index = delta.get("index", len(calls) - 1 if calls else 0)
        while len(calls) <= index:
            calls.append({"id": "", "type": "custom" if "custom" in delta else "function"})
        call = calls[index]
        for name, value in delta.items():
            if name in ("id", "type"):
                call[name] = value or call[name]
            elif name != "index":
                call[name] = _merged(call.get(name), value)


def _merged(known: Any, more: Any) -> Any:
    """Return text and lists joined, objects merged by field; else the newer value."""
    if known is None or more is None:
        return known if more is None else more
    if isinstance(known, str) and isinstance(more, str):
        return known + more
    if isinstance(known, list) and isinstance(more, list):
        return known + more
    if isinstance(known, dict) and isinstance(more, dict):
        return {name: _merged(known.get(name), more.get(name)) for name in {**known, **more}}
    return more
