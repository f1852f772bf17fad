"""Functions for a model whose backend knows none: described in text, called in text.

What the model writes is read by ``call_forms``; what it is shown of its own earlier calls has
the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Fields = Mapping[str, Any]
"""A JSON object."""

_HOW = """\
# Functions
You can call the functions below. To call one, write on a line of its own, with nothing around it:
{"name": "<function>", "arguments": {<its arguments>}}
Several calls stand on a line each. Then stop: the results come in the next message, each \
after the words "Result of" and the function's name. The user sees neither calls nor results. \
Each function, with the JSON schema of its arguments:"""

_HAVE_TO = "In this answer you have to call "


def described(functions: Sequence[Fields], choice: object) -> str:
    """Return the instructions for calling ``functions``; empty where none may be called.

    Args:
        choice: ``tool_choice`` or ``function_call``, as OpenAI has them.
    """
    if not functions or choice == "none":
        return ""
    lines = [_HOW, *(orjson.dumps(each).decode() for each in functions)]
    if choice == "required":
        lines.append(f"{_HAVE_TO}one of them.")
    elif name := chosen(choice):
        lines.append(f"{_HAVE_TO}{name}.")
    return "\n".join(lines)


def chosen(choice: object) -> str | None:
    """Return the function that a choice names, if it does."""
    if not isinstance(choice, Mapping):
        return None
    inner = choice.get("function") or choice.get("custom") or choice
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else None


def call_text(function: Fields) -> str:
    """Return a call as the model is to write it."""
    try:
        arguments = orjson.loads(function.get("arguments") or "{}")
    except orjson.JSONDecodeError:
        arguments = function["arguments"]
    return orjson.dumps({"name": function.get("name"), "arguments": arguments}).decode()


def result_text(name: str, result: str) -> str:
    """Return a call's result as the model is told it."""
    return f"Result of {name}:\n{result}"
