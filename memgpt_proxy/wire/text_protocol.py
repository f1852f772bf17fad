"""Functions for a model whose backend knows none: described in text, called in text.

What the model writes is read by ``call_forms``, and by ``listed_calls`` while it arrives; what it
is shown of its own earlier calls has the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import orjson

Fields = Mapping[str, Any]
"""A JSON object."""


class Form(Enum):
    """How calls are to be written."""

    LINES = "each on a line of its own, amid other text"
    LIST = "as one object, which is all of the answer"
    LIST_OR_ANSWER = "the same, or other JSON that was asked for"


LIST_FIELD = "tool_calls"
"""The one field of the object that lists calls."""

_CALL = '{"name": "<function>", "arguments": {<its arguments>}}'
_LIST = f'{{"{LIST_FIELD}": [{_CALL}]}}'

_HOW = {
    Form.LINES: f"""\
You can call the functions below. To call one, write on a line of its own, with nothing around it:
{_CALL}
Several calls stand on a line each. Then stop""",
    Form.LIST: f"""\
You act by calling the functions below. Your whole answer is one JSON object:
{_LIST}
Several calls stand in the list in their order. Then stop""",
    Form.LIST_OR_ANSWER: f"""\
You can call the functions below before you answer. To call some, write instead of the answer:
{_LIST}
Several calls stand in the list in their order. Then stop""",
}
_WHAT_COMES = (
    ': the results come in the next message, each after the words "Result of" and the function\'s '
    "name. The user sees neither calls nor results. Each function, with the JSON schema of its "
    "arguments:"
)
_HAVE_TO = "In this answer you have to call "


def described(functions: Sequence[Fields], form: Form, must_call: str | None = None) -> str:
    """Return the instructions for calling ``functions``; empty where there are none.

    Args:
        must_call: The one that has to be called; empty for any of them, None where none has to be.
    """
    if not functions:
        return ""
    lines = ["# Functions", _HOW[form] + _WHAT_COMES]
    lines += [orjson.dumps(each).decode() for each in functions]
    if must_call is not None:
        lines.append(f"{_HAVE_TO}{must_call or 'one of them'}.")
    return "\n".join(lines)


def calls_text(functions: Sequence[Fields], form: Form) -> str:
    """Return calls as the model is to write them."""
    calls = [{"name": each.get("name"), "arguments": _arguments(each)} for each in functions]
    if form is Form.LINES:
        return "\n".join(orjson.dumps(call).decode() for call in calls)
    return orjson.dumps({LIST_FIELD: calls}).decode()


def _arguments(function: Fields) -> Any:
    text = function.get("arguments")
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return text


def result_text(name: str, result: str) -> str:
    """Return a call's result as the model is told it."""
    return f"Result of {name}:\n{result}"
