"""What ``tool_choice`` says about the client's own tools; ours are never meant by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memgpt_proxy.wire.chat import Tool


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which of the client's tools may be called, and whether one of them has to be.

    Attributes:
        names: The tools that may be called; None for all of them.
        required: One of them has to be.
        known: It is of a kind that we know; another is for the backend to judge.
    """

    names: frozenset[str] | None = None
    required: bool = False
    known: bool = True

    def among(self, tools: Sequence[Tool]) -> tuple[Tool, ...]:
        """Return those of ``tools`` that may be called."""
        if self.names is None:
            return tuple(tools)
        return tuple(tool for tool in tools if tool_name(tool) in self.names)


_ANY = ToolChoice()
_UNKNOWN = ToolChoice(known=False)
_WORDS = {
    "auto": _ANY,
    "none": ToolChoice(names=frozenset()),
    "required": ToolChoice(required=True),
}


def read_tool_choice(choice: object) -> ToolChoice:
    """Return what a request's ``tool_choice`` says; None is ``auto``."""
    match choice:
        case None:
            return _ANY
        case str():
            return _WORDS.get(choice, _UNKNOWN)
        case dict() if choice.get("type") in ("function", "custom"):
            name = tool_name(choice)
            return ToolChoice(frozenset({name}), required=True) if name else _UNKNOWN
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}} if (
            mode in ("auto", "required")
        ):
            names = frozenset(tool_name(tool) for tool in tools if isinstance(tool, dict))
            return ToolChoice(names, required=mode == "required")
        case _:
            return _UNKNOWN


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name that a tool is called by; empty for a kind that we do not know."""
    declared = tool.get("function") or tool.get("custom")
    name = declared.get("name") if isinstance(declared, dict) else None
    return name if isinstance(name, str) else ""
