"""The tools of a request and the choice among them, as chats have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.api.checks import invalid, typed
from memgpt_proxy.errors import InvalidRequest

_MODES = ("none", "auto", "required")
_NAMED = ("function", "custom")
"""Kinds of tools that the client runs itself, each known by its name."""
_OF_FUNCTION = ("name", "description", "parameters", "strict")


def tools_of(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a request's tools as a chat has them. Raises InvalidRequest."""
    tools = typed(fields, "tools", list, "an array") or ()
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def choice_of(
    fields: Mapping[str, Any], tools: list[dict[str, Any]]
) -> tuple[Any, list[dict[str, Any]]]:
    """Return the choice among tools, and those that it leaves. Raises InvalidRequest."""
    choice = fields.get("tool_choice")
    if choice is None or choice in _MODES:
        return choice, tools
    if not isinstance(choice, dict):
        raise InvalidRequest(
            "Invalid value for 'tool_choice'. Supported values are: "
            "'none', 'auto', 'required' and objects with a type.",
            param="tool_choice",
            code="invalid_value",
        )
    if choice.get("type") == "allowed_tools":
        return _allowed(choice, tools)
    kind, name = _named(choice, "tool_choice")
    _require({(kind, name)}, tools, "tool_choice")
    return {"type": kind, kind: {"name": name}}, tools


def _tool(tool: object, param: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise invalid(param, "an object")
    kind, name = _named(tool, param)
    if kind == "custom":
        return {"type": "custom", "custom": _custom(tool, name, param)}
    parameters = tool.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise invalid(f"{param}.parameters", "an object")
    function = {each: tool[each] for each in _OF_FUNCTION if tool.get(each) is not None}
    return {"type": "function", "function": function}


def _custom(tool: Mapping[str, Any], name: str, param: str) -> dict[str, Any]:
    custom: dict[str, Any] = {"name": name}
    if tool.get("description") is not None:
        custom["description"] = tool["description"]
    form = tool.get("format")
    if form is not None:
        if not isinstance(form, dict):
            raise invalid(f"{param}.format", "an object")
        custom["format"] = form
    if form is not None and form.get("type") == "grammar":
        grammar = {each: form.get(each) for each in ("definition", "syntax")}
        custom["format"] = {"type": "grammar", "grammar": grammar}
    return custom


def _allowed(
    choice: Mapping[str, Any], tools: list[dict[str, Any]]
) -> tuple[Any, list[dict[str, Any]]]:
    """Offer the allowed tools alone: any backend understands that."""
    mode, allowed = choice.get("mode"), choice.get("tools")
    if mode not in ("auto", "required"):
        raise InvalidRequest(
            "Invalid value for 'tool_choice.mode'. Supported values are: 'auto' and 'required'.",
            param="tool_choice.mode",
            code="invalid_value",
        )
    if not isinstance(allowed, list):
        raise invalid("tool_choice.tools", "an array")
    names = set()
    for index, tool in enumerate(allowed):
        if not isinstance(tool, dict):
            raise invalid(f"tool_choice.tools[{index}]", "an object")
        names.add(_named(tool, f"tool_choice.tools[{index}]"))
    _require(names, tools, "tool_choice.tools")
    return mode, [tool for tool in tools if _name(tool) in names]


def _named(tool: Mapping[str, Any], param: str) -> tuple[str, str]:
    kind, name = tool.get("type"), tool.get("name")
    if kind not in _NAMED:
        raise InvalidRequest(
            f"Unsupported value: '{param}.type' is {kind!r}. Supported values are: 'function' and "
            "'custom'. Tools that OpenAI runs itself are not there behind this gateway.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    if not isinstance(name, str) or not name:
        raise invalid(f"{param}.name", "a string")
    return str(kind), name


def _require(names: set[tuple[str, str]], tools: Sequence[Mapping[str, Any]], param: str) -> None:
    if missing := names.difference(map(_name, tools)):
        _, name = min(missing)
        raise InvalidRequest(f"Tool choice '{name}' not found in 'tools' parameter.", param=param)


def _name(tool: Mapping[str, Any]) -> tuple[str, str]:
    return tool["type"], tool[tool["type"]]["name"]
