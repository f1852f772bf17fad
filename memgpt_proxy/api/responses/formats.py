"""What a response is to look like: the format of its text, and what it is to include."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.api.checks import invalid, typed
from memgpt_proxy.errors import InvalidRequest

INCLUDABLE = frozenset(
    {
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    }
)
"""What OpenAI's responses may include; most is about items that there are none of here."""

_SCHEMA = ("name", "description", "schema", "strict")


def text_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat's options for ``text``. Raises InvalidRequest."""
    text = typed(fields, "text", dict, "an object") or {}
    return {"response_format": _format(text.get("format")), "verbosity": text.get("verbosity")}


def check_include(fields: Mapping[str, Any]) -> Sequence[str]:
    """Return what is to be included. Raises InvalidRequest."""
    include: Sequence[Any] = typed(fields, "include", list, "an array") or ()
    for index, name in enumerate(include):
        if not isinstance(name, str) or name not in INCLUDABLE:
            raise InvalidRequest(
                f"Invalid value: {name!r}. Supported values are: "
                f"{', '.join(map(repr, sorted(INCLUDABLE)))}.",
                param=f"include[{index}]",
                code="invalid_value",
            )
    return include


def _format(form: object) -> dict[str, Any] | None:
    if form is None:
        return None
    if not isinstance(form, dict):
        raise invalid("text.format", "an object")
    match form.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            return {"type": "json_schema", "json_schema": _schema(form)}
        case kind:
            raise InvalidRequest(
                f"Invalid value: {kind!r}. Supported values are: 'text', 'json_object' and "
                "'json_schema'.",
                param="text.format.type",
                code="invalid_value",
            )


def _schema(form: Mapping[str, Any]) -> dict[str, Any]:
    for name, kind, called in (("name", str, "a string"), ("schema", dict, "an object")):
        if not isinstance(form.get(name), kind):
            raise invalid(f"text.format.{name}", called)
    return {name: form[name] for name in _SCHEMA if form.get(name) is not None}
