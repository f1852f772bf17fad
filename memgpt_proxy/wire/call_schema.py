"""The JSON schema of an answer that is calls of the text protocol, for backends that force one.

Alternatives stand inside the list: some servers take nothing but an object at the root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.wire.text_protocol import LIST_FIELD

Schema = dict[str, Any]

_MOST_CALLS = 8
"""In one answer: a model that goes astray would fill it with calls."""
_ANSWER = "answer"


def response_format(
    functions: Sequence[Mapping[str, Any]], *, most: int = _MOST_CALLS, answer: Any = None
) -> dict[str, Any]:
    """Return the ``response_format`` of an answer that calls some of ``functions``.

    Args:
        most: Calls in it at the most.
        answer: A ``response_format`` with a schema: an answer of that form may come instead.
    """
    definitions: Schema = {}
    schema = _list(functions, most, definitions)
    told: Mapping[str, Any] = {"name": "calls"}
    if answer is not None:
        told = answer["json_schema"]
        own = _moved(told["schema"], _ANSWER, definitions)
        schema = {"anyOf": [own, schema]}
    if definitions:
        schema["$defs"] = definitions
    return {"type": "json_schema", "json_schema": {**told, "schema": schema}}


def has_schema(form: Any) -> bool:
    """Return whether a ``response_format`` has a schema."""
    told = form.get("json_schema") if isinstance(form, Mapping) else None
    return isinstance(told, Mapping) and isinstance(told.get("schema"), Mapping)


def _list(functions: Sequence[Mapping[str, Any]], most: int, definitions: Schema) -> Schema:
    calls = [_call(function, definitions) for function in functions]
    items = calls[0] if len(calls) == 1 else {"anyOf": calls}
    listed = {"type": "array", "items": items, "minItems": 1, "maxItems": most}
    return _object({LIST_FIELD: listed})


def _call(function: Mapping[str, Any], definitions: Schema) -> Schema:
    name, parameters = function["name"], function.get("parameters")
    arguments = {"type": "object", **(parameters if isinstance(parameters, Mapping) else {})}
    if not arguments.get("properties"):
        arguments.setdefault("additionalProperties", True)
    moved = _moved(arguments, f"arguments.{name}", definitions)
    return _object({"name": {"type": "string", "enum": [name]}, "arguments": moved})


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _moved(schema: Any, name: str, definitions: Schema) -> Any:
    """Return a schema for another place than the root, to which its references lead.

    One that has any is put among the definitions.
    """
    place = f"#/$defs/{name}"
    moved = _led_to(place, schema)
    if moved == schema:
        return schema
    definitions[name] = moved
    return {"$ref": place}


def _led_to(place: str, schema: Any) -> Any:
    """Return a schema whose references from the root lead from ``place``."""
    if isinstance(schema, list):
        return [_led_to(place, each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved = {key: _led_to(place, value) for key, value in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved
