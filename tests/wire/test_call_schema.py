"""The schema of an answer that is calls: what it admits and what not, by JSON Schema's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memgpt_proxy.agent.functions import FUNCTIONS
from memgpt_proxy.wire.call_schema import has_schema, response_format

MEMORY = [function.tool()["function"] for function in FUNCTIONS.values()]
TREE = {
    "name": "plant",
    "parameters": {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/Tree"}},
        "required": ["tree"],
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {"branches": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
                "required": ["branches"],
                "additionalProperties": False,
            }
        },
    },
}
SELF = {"name": "nest", "parameters": {"type": "object", "properties": {"in": {"$ref": "#"}}}}
BARE = {"name": "ping"}
OWN = {
    "type": "json_schema",
    "json_schema": {
        "name": "own",
        "schema": {
            "type": "object",
            "properties": {"it": {"$ref": "#/definitions/It"}},
            "required": ["it"],
            "additionalProperties": False,
            "definitions": {"It": {"enum": [1, 2]}},
        },
    },
}


TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
}


def admits(form: dict[str, Any], answer: Any) -> bool:
    schema = form["json_schema"]["schema"]
    return is_valid(answer, schema, schema)


def is_valid(value: Any, schema: Any, root: Any) -> bool:
    """Whether a value is valid: draft 2020-12, as far as these schemas go."""
    return all(KEYWORDS[keyword](value, told, root) for keyword, told in closed(schema).items())


def closed(schema: Any) -> Any:
    """The same, with the properties named that no others may stand beside."""
    if schema.get("additionalProperties") is not False:
        return schema
    return {**schema, "additionalProperties": [*schema["properties"]]}


def resolved(reference: str, root: Any) -> Any:
    for key in reference.removeprefix("#").split("/")[1:]:
        root = root[key]
    return root


KEYWORDS: dict[str, Callable[[Any, Any, Any], bool]] = {
    "$ref": lambda value, told, root: is_valid(value, resolved(told, root), root),
    "type": lambda value, told, root: isinstance(value, TYPES[told]),
    "enum": lambda value, told, root: value in told,
    "anyOf": lambda value, told, root: any(is_valid(value, each, root) for each in told),
    "required": lambda value, told, root: set(told) <= set(value),
    "properties": lambda value, told, root: all(
        is_valid(value[name], told[name], root) for name in told if name in value
    ),
    "additionalProperties": lambda value, told, root: told is True or set(value) <= set(told),
    "items": lambda value, told, root: all(is_valid(each, told, root) for each in value),
    "minItems": lambda value, told, root: len(value) >= told,
    "maxItems": lambda value, told, root: len(value) <= told,
    "$defs": lambda value, told, root: True,
    "definitions": lambda value, told, root: True,
    "description": lambda value, told, root: True,
}


def calls(*named: tuple[str, Any]) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in named]}


SAYS = ("send_message", {"message": "Hi"})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (calls(SAYS), True),
        (calls(("working_context_append", {"content": "x", "request_heartbeat": True})), True),
        (calls(("recall_storage_search", {"query": "x", "page": 2}), SAYS), True),
        (calls(), False),
        (calls(*[SAYS] * 9), False),
        (calls(("send_message", {})), False),
        (calls(("send_message", {"message": 1})), False),
        (calls(("archival_storage_insert", {"message": "Hi"})), False),
        (calls(("unknown", {})), False),
        ({"name": "send_message", "arguments": {"message": "Hi"}}, False),
        (calls(SAYS) | {"thought": "?"}, False),
        ("Hi", False),
    ],
)
def test_calls_of_the_functions_in_force_and_nothing_else(answer: Any, expected: bool) -> None:
    assert admits(response_format(MEMORY), answer) is expected


def test_each_call_has_a_name_before_its_arguments() -> None:
    """Servers that force a schema write properties in its order; so the message can be streamed."""
    form = response_format([*MEMORY, BARE])
    items = form["json_schema"]["schema"]["properties"]["tool_calls"]["items"]["anyOf"]
    assert [[*item["properties"]] for item in items] == [["name", "arguments"]] * 8
    (message, heartbeat) = items[0]["properties"]["arguments"]["properties"]
    assert (message, heartbeat) == ("message", "request_heartbeat")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (("plant", {"tree": {"branches": [{"branches": []}]}}), True),
        (("plant", {"tree": {"branches": [{}]}}), False),
        (("nest", {"in": {"in": {}}}), True),
        (("nest", {"in": {"in": 1}}), False),
        (("ping", {"anything": 1}), True),
        (("ping", {}), True),
    ],
)
def test_references_of_a_tools_schema_lead_to_their_own(named: Any, expected: bool) -> None:
    form = response_format([*MEMORY, TREE, SELF, BARE])
    assert admits(form, calls(named)) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"it": 1}, True),
        ({"it": 3}, False),
        ({}, False),
        (calls(SAYS), True),
        (calls(("plant", {"tree": {"branches": []}})), True),
        (calls(("plant", {"tree": {"branches": [{}]}})), False),
    ],
)
def test_an_answer_of_the_clients_own_schema_may_come_instead(answer: Any, expected: bool) -> None:
    form = response_format([*MEMORY, TREE], answer=OWN)
    assert form["json_schema"]["name"] == "own"
    assert admits(form, answer) is expected


def test_what_has_a_schema() -> None:
    assert has_schema(OWN)
    others: list[Any] = [None, {"type": "json_object"}, {"type": "json_schema"}, "x"]
    others.append({"type": "json_schema", "json_schema": {"name": "x"}})
    assert not any(map(has_schema, others))
