"""Responses that were given before: found in the transcript tree by their ids.

The tree has what was said and which tools were called. What it does not have of a response, such
as its model and its usage, is not made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from memgpt_proxy.agent.reply import Beside, CallPart, Delta, Kind, Text
from memgpt_proxy.api.responses.items import REFERENCE, kind_of
from memgpt_proxy.api.responses.names import node_of_item, node_of_response, response_id
from memgpt_proxy.api.responses.output import Output
from memgpt_proxy.errors import MemoryUnreadable, NotFound
from memgpt_proxy.memory.calls import open_calls
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.protocols import StoreError, TranscriptStore
from memgpt_proxy.stores.records import Namespace, Node, NodeId, Role

_NOT_KEPT = ("model", "usage", "instructions", "metadata", "tools", "tool_choice")


async def response_of(store: TranscriptStore, namespace: Namespace, name: str) -> dict[str, Any]:
    """Return what is kept of a response. Raises NotFound, MemoryUnreadable."""
    node = await _reply(store, namespace, node_of_response(name))
    if node is None:
        raise NotFound(f"Response with id '{name}' not found.")
    status = "completed" if node.complete else "incomplete"
    return {
        "id": response_id(node.id),
        "object": "response",
        "created_at": int(node.created),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": items_of(node),
        "store": True,
        **dict.fromkeys(_NOT_KEPT),
    }


async def resolved(store: TranscriptStore, namespace: Namespace, items: Sequence[Any]) -> list[Any]:
    """Return input items with what they refer to in place of references.

    Raises:
        NotFound: There is no such item.
        MemoryUnreadable: The store is away.
    """
    return [await _resolved(store, namespace, item) for item in items]


def items_of(node: Node) -> list[dict[str, Any]]:
    """Return the output of the response whose reply this is."""
    output = Output(node.id)
    for delta in _deltas(node):
        for _ in output.add(delta):
            pass  # nobody listens
    return output.whole("completed" if node.complete else "incomplete")


async def _resolved(store: TranscriptStore, namespace: Namespace, item: Any) -> Any:
    if not isinstance(item, dict) or kind_of(item) != REFERENCE:
        return item
    name = str(item.get("id"))
    node = await _reply(store, namespace, node_of_item(name))
    found = (each for each in items_of(node) if each["id"] == name) if node else iter(())
    if (meant := next(found, None)) is None:
        raise NotFound(f"Item with id '{name}' not found.", param="input")
    return meant


async def _reply(store: TranscriptStore, namespace: Namespace, name: NodeId | None) -> Node | None:
    if name is None:
        return None
    try:
        path = await store.path(namespace, name, 1)
    except StoreError as error:
        raise MemoryUnreadable("Earlier responses cannot be read now.") from error
    return path[0] if path and path[0].role is Role.ASSISTANT else None


def _deltas(node: Node) -> list[Delta]:
    entries: list[Message] = orjson.loads(node.entries)
    refusal = entries[-1].get("refusal") if entries else None
    deltas: list[Delta] = [Beside("refusal", refusal)] if refusal else [Text(node.text)]
    theirs = frozenset(open_calls([node]))
    calls = [call for entry in entries for call in entry.get("tool_calls") or ()]
    made = [call for call in calls if call["id"] in theirs]
    return deltas + [_call(index, call) for index, call in enumerate(made)]


def _call(index: int, call: dict[str, Any]) -> CallPart:
    kind = Kind.CUSTOM if call.get("type") == "custom" else Kind.FUNCTION
    called = call[kind.value]
    text = called["input" if kind is Kind.CUSTOM else "arguments"]
    return CallPart(index, call["id"], called["name"], text, kind)
