"""A model by rules that does what it is asked to: for suites that want one which answers sensibly.

It keeps to a schema, calls the tool that it has to or is asked to, and otherwise says something.
Where it has memory functions it first looks into recall storage, so that no turn is without a
hidden step. ``ScriptedBackend.script(oblige)`` makes it a backend.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from memgpt_proxy.agent.functions import FUNCTIONS
from tests.support.replies import Reply, call, text, thoughts

SEARCH = "recall_storage_search"
REPLY = "Purr. Thank you for asking!"

Object = Mapping[str, Any]


def oblige(request: Object) -> Reply:
    """Answer a chat-completions request."""
    said = last_words(request["messages"])
    if (format := request.get("response_format") or {}).get("type") == "json_schema":
        return text(_json(instance(format["json_schema"]["schema"], said)))
    if format.get("type") == "json_object":
        return text(_json(dict.fromkeys(re.findall(r"'(\w+)'", said), said)))
    tools = {tool["function"]["name"]: tool["function"] for tool in request.get("tools") or []}
    done = calls_since(request["messages"])
    if SEARCH in tools and not done:
        return thoughts("Have we met?") + call(SEARCH, {"query": said[:50]})
    if (name := _wanted(request, tools, said, done)) is not None:
        return call(name, instance(tools[name].get("parameters") or {}, said))
    return call("send_message", {"message": REPLY}) if "send_message" in tools else text(REPLY)


def _wanted(request: Object, tools: Mapping[str, Object], said: str, done: list[str]) -> str | None:
    """The client's tool that has to be called, or that the user's words mean."""
    theirs = [name for name in tools if name not in FUNCTIONS]
    match request.get("tool_choice"):
        case {"function": {"name": str(name)}}:
            return name
        case "required":
            return theirs[0]
        case "none":
            return None
        case _:
            pass
    meant = (name for name in theirs if set(name.split("_")) & set(re.findall(r"\w+", said)))
    return None if set(done) & set(theirs) else next(meant, None)


def last_words(messages: list[Object]) -> str:
    """What the user said last."""
    return _words(messages[_last_said(messages)]) if messages else ""


def calls_since(messages: list[Object]) -> list[str]:
    """The functions called since then."""
    after = messages[_last_said(messages) + 1 :]
    return [c["function"]["name"] for m in after for c in m.get("tool_calls") or []]


def _last_said(messages: list[Object]) -> int:
    places = [number for number, message in enumerate(messages) if _is_said(message)]
    return places[-1] if places else len(messages) - 1


def _is_said(message: Object) -> bool:
    return message["role"] == "user" and not _words(message).startswith("System Alert:")


def _words(message: Object) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "text")


def instance(schema: Object, said: str, definitions: Object | None = None) -> Any:
    """A value of a JSON schema: the words where it takes text, their first number for a number."""
    definitions = definitions or schema.get("$defs") or schema.get("definitions") or {}
    if "$ref" in schema:
        return instance(definitions[schema["$ref"].rpartition("/")[2]], said, definitions)
    if choices := schema.get("enum"):
        return choices[0]
    if any_of := schema.get("anyOf"):
        return instance(any_of[0], said, definitions)
    match schema.get("type"):
        case "object" | None:
            properties = schema.get("properties") or {}
            return {name: instance(kind, said, definitions) for name, kind in properties.items()}
        case "array":
            return [instance(schema.get("items") or {}, said, definitions)]
        case "integer" | "number":
            found = re.search(r"\d+", said)
            return int(found[0]) if found else 0
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return said


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
