"""The fields of a request that say what its answer has to be.

Most turns answer by ``send_message`` or in plain content, whatever else is asked for. Some of
these fields are about the backend's own answer, and some cannot have functions beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.api.checks import invalid, typed
from memgpt_proxy.errors import InvalidRequest
from memgpt_proxy.wire.dialect import speaks
from memgpt_proxy.wire.tool_choice import ToolChoice, read_tool_choice, tool_name

_OURS_BESIDE = frozenset({"function", "custom"})
"""The kinds of tools that are called as ours are."""


def check_answer_fields(fields: Mapping[str, Any], tools: Sequence[Any]) -> None:
    """Check what the gateway changes or builds on. Raises InvalidRequest."""
    typed(fields, "n", int, "an integer")
    typed(fields, "response_format", dict, "an object")
    functions = typed(fields, "functions", list, "an array") or ()
    for index, function in enumerate(functions):
        check_function(function, f"functions[{index}]")
    _check_choice(read_tool_choice(fields.get("tool_choice")), tools)


def check_function(function: object, param: str) -> None:
    """Check the declaration of a function. Raises InvalidRequest."""
    if not isinstance(function, dict):
        raise invalid(param, "an object")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise invalid(f"{param}.name", "a string")


def _check_choice(choice: ToolChoice, tools: Sequence[Any]) -> None:
    """With functions of ours beside them, the backend would not see that there are no tools."""
    if choice.required and not tools:
        raise InvalidRequest(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
            "specified.",
            param="tool_choice",
        )
    missing = (choice.names or frozenset()).difference(map(tool_name, tools))
    if missing:
        raise InvalidRequest(
            f"Invalid value for 'tool_choice': no tool named {min(missing)!r} was specified in "
            "the 'tools' parameter.",
            param="tool_choice",
        )


def is_clean(fields: Mapping[str, Any], tools: Sequence[Any]) -> bool:
    """Return whether the answer has to be the backend's own, choice by choice."""
    form = fields.get("response_format")
    return bool(
        fields.get("n") not in (None, 1)
        or fields.get("logprobs")
        or (form and form.get("type", "text") != "text")
        or fields.get("functions")
        or speaks(fields)
        or any(tool.get("type") not in _OURS_BESIDE for tool in tools)
        or is_alone(fields)
    )


def is_alone(fields: Mapping[str, Any]) -> bool:
    """Return whether no function of ours may stand beside what is asked for.

    Predicted outputs and search models take no functions; a function of the deprecated kind
    that is forced leaves no room for another call.
    """
    return bool(
        fields.get("prediction") is not None
        or fields.get("web_search_options") is not None
        or fields.get("function_call") not in (None, "none", "auto")
        or (fields.get("functions") and fields.get("tools"))
        or not read_tool_choice(fields.get("tool_choice")).known
    )
