"""The ids of responses and of what is in them: names of the reply's node in the transcript tree.

A response is known before its reply has words, so that the node gets its name from it: an id
tells where the conversation goes on, and where an item is found again.
"""

from __future__ import annotations

import re
import secrets

from memgpt_proxy.stores.records import NodeId

_RESPONSE = re.compile(r"resp_([0-9a-f]{32})")
_ITEM = re.compile(r"(?:msg|fc|ctc)_([0-9a-f]{32})(?:_[0-9]{1,6})?")


def new_node() -> NodeId:
    """Return the name of a reply that is still to be made."""
    return NodeId(secrets.token_hex(16))


def response_id(node: NodeId) -> str:
    """Return the id of the response whose reply is this node."""
    return f"resp_{node}"


def message_id(node: NodeId) -> str:
    """Return the id of the response's message; there is one at the most."""
    return f"msg_{node}"


def call_id(node: NodeId, index: int, *, custom: bool) -> str:
    """Return the id of the response's call at this place among its calls."""
    return f"{'ctc' if custom else 'fc'}_{node}_{index}"


def node_of_response(name: str) -> NodeId | None:
    """Return the node that a response's id names, if it is one of ours."""
    found = _RESPONSE.fullmatch(name)
    return NodeId(found[1]) if found else None


def node_of_item(name: str) -> NodeId | None:
    """Return the node of the response that an item's id belongs to, if it is one of ours."""
    found = _ITEM.fullmatch(name)
    return NodeId(found[1]) if found else None
