"""Records to documents, and back.

What is searched for has a field of its own; what is only returned is kept in one object, which
is not indexed. A name that is too long for a term is kept whole beside it. Each document bears
its owner, its kind, and when it was written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from memgpt_proxy.stores import codec
from memgpt_proxy.stores.elasticsearch.names import term
from memgpt_proxy.stores.portable import ContextVersion, StoredPassage
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import (
    ContentId,
    Conversation,
    Hit,
    Node,
    NodeId,
    Owner,
    Passage,
    QueueState,
    Role,
    Trace,
    TurnId,
    WorkingContext,
)
from memgpt_proxy.stores.storable import clean

Json = dict[str, Any]

NODE = "node"
QUEUE = "queue"
CONVERSATION = "conversation"
PASSAGE = "passage"
VERSION = "version"
HEAD = "head"
TRACE = "trace"
ERASED = "erased"

_LARGEST = 2**63


def of_node(owner: Owner, node: Node, stored: int, lineage: Sequence[str] = ()) -> Json:
    """Return the document of a node.

    Args:
        owner: Whose it is.
        node: The record.
        stored: What is stored later has a greater number.
        lineage: Names of the messages before it, nearest first, where they are kept here.
    """
    document = _document(owner, NODE, node.id, stored)
    if node.key != node.id:
        _name(document, "key", node.key)
    _name(document, "content", node.content)
    _name(document, "parent", node.parent)
    document |= {
        "depth": _whole(node.depth),
        "created": _finite(node.created),
        "stored": stored,
        **changes_of_node(node),
    }
    if node.text:
        document |= {"text": clean(node.text), "said": owner}
    if lineage:
        document["lineage"] = [clean(name) for name in lineage]
    return document


def changes_of_node(node: Node) -> Json:
    """Return what of a node's document a later record may change."""
    kept = {
        "role": node.role.value,
        "tokens": _whole(node.tokens),
        "queue": clean(node.queue),
        "context_version": _whole(node.context_version),
        "turn": clean(node.turn),
        "complete": node.complete,
        "entries": clean(node.entries),
    }
    return {"abandoned": node.abandoned, "node": kept}


def node(document: Mapping[str, Any]) -> Node:
    """Return the node in a document."""
    kept = document["node"]
    name = NodeId(_named(document, "id"))
    return Node(
        id=name,
        key=NodeId(_named(document, "key")) if "key" in document else name,
        content=ContentId(_named(document, "content")),
        parent=NodeId(_named(document, "parent")),
        depth=document["depth"],
        role=Role(kept["role"]),
        text=document.get("text", ""),
        entries=kept["entries"],
        tokens=kept["tokens"],
        created=float(document["created"]),
        queue=NodeId(kept["queue"]),
        context_version=kept["context_version"],
        turn=TurnId(kept["turn"]),
        complete=kept["complete"],
        abandoned=document["abandoned"],
    )


def of_queue(owner: Owner, state: QueueState, made: float, stored: int) -> Json:
    """Return the document of a queue state, made in a record of the time ``made``."""
    context = {
        "version": _whole(state.context.version),
        "content": clean(state.context.content),
    }
    counts = {name: _whole(number) for name, number in asdict(state.counts).items()}
    kept = {
        "node": clean(state.node),
        "start": _whole(state.start),
        "summary": clean(state.summary),
        "context": context,
        "counts": counts,
    }
    document = _document(owner, QUEUE, state.node, stored)
    return document | {"made": _finite(made), "queue": kept}


def queue(document: Mapping[str, Any]) -> QueueState:
    """Return the queue state in a document."""
    return codec.queue_state(document["queue"])


def of_conversation(owner: Owner, named: Conversation, made: float, stored: int) -> Json:
    """Return the document of a conversation, made in a record of the time ``made``."""
    kept = {"name": clean(named.name), "tip": clean(named.tip), "resends": named.resends}
    document = _document(owner, CONVERSATION, named.name, stored)
    return document | {"made": _finite(made), "conversation": kept}


def conversation(document: Mapping[str, Any]) -> Conversation:
    """Return the conversation in a document."""
    return Conversation(**document["conversation"])


def of_passage(owner: Owner, passage: Passage, stored: int, *, hidden: bool = False) -> Json:
    """Return the document of a passage."""
    document = _document(owner, PASSAGE, passage.id, stored)
    if passage.turn:
        _name(document, "turn", passage.turn)
    return document | {
        "created": _finite(passage.created),
        "text": clean(passage.text),
        "shown": None if hidden else owner,
        "passage": {"node": clean(passage.node)},
    }


def passage(document: Mapping[str, Any]) -> StoredPassage:
    """Return the passage in a document."""
    stored = Passage(
        id=_named(document, "id"),
        text=document["text"],
        created=float(document["created"]),
        node=NodeId(document["passage"]["node"]),
        turn=TurnId(_named(document, "turn") if "turn" in document else ""),
    )
    return StoredPassage(stored, hidden=document["shown"] is None)


def hit(document: Mapping[str, Any]) -> Hit:
    """Return the search result in the document of a node or passage."""
    found = Hit(_named(document, "id"), document["text"], float(document["created"]))
    if "node" not in document:
        return found
    role = Role(document["node"]["role"])
    return replace(found, role=role, abandoned=document["abandoned"])


def of_version(owner: Owner, version: ContextVersion, written_by: str, stored: int) -> Json:
    """Return the document of a working context's version; ``written_by`` names one write."""
    document = _document(owner, VERSION, str(version.version), stored)
    if version.turn:
        _name(document, "turn", version.turn)
    kept = {
        "content": clean(version.content),
        "node": clean(version.node),
        "by": written_by,
    }
    return document | {"version": _whole(version.version), "context": kept}


def version(document: Mapping[str, Any]) -> ContextVersion:
    """Return the version of a working context in a document."""
    kept = document["context"]
    turn = TurnId(_named(document, "turn") if "turn" in document else "")
    return ContextVersion(document["version"], kept["content"], NodeId(kept["node"]), turn)


def working_context(document: Mapping[str, Any]) -> WorkingContext:
    """Return the working context at the version in a document."""
    return WorkingContext(document["version"], document["context"]["content"])


def of_head(owner: Owner, newest: int, stored: int) -> Json:
    """Return the document that tells the newest version of a working context."""
    return _document(owner, HEAD, HEAD, stored) | {"version": _whole(newest)}


def of_erased(owner: Owner, erased: int) -> Json:
    """Return the document that tells when an owner's records were erased."""
    return _document(owner, ERASED, ERASED, erased)


def of_vector(
    owner: Owner, kind: str, name: str, vector: Sequence[float] | None, stored: int
) -> Json:
    """Return the document of a text's vector; it has none where the model takes no such text."""
    document = _document(owner, kind, name, stored)
    return document if vector is None else document | {"vector": vector}


def name_of(document: Mapping[str, Any]) -> str:
    """Return the name of the record in a document."""
    return _named(document, "id")


def of_trace(owner: Owner, trace: Trace, written: int) -> Json:
    """Return the document of a turn's trace."""
    document = _document(owner, TRACE, trace.turn, written)
    return document | {"created": _finite(trace.created), "trace": clean(trace.content)}


def trace(document: Json) -> Trace:
    """Return the trace in a document."""
    return Trace(TurnId(_named(document, "id")), float(document["created"]), document["trace"])


def _document(owner: Owner, kind: str, name: str, written: int) -> Json:
    document: Json = {"owner": owner, "kind": kind, "written": written}
    _name(document, "id", name)
    return document


def _name(document: Json, field: str, name: str) -> None:
    """Write a name into its field, and whole beside it where that has to be short."""
    cleaned, short = clean(name), term(name)
    document[field] = short
    if short != cleaned:
        document.setdefault("name", {})[field] = cleaned


def _named(document: Mapping[str, Any], field: str) -> str:
    """Return the whole name in a field."""
    name: str = document.get("name", {}).get(field, document[field])
    return name


def _whole(number: int) -> int:
    """Return a number that Elasticsearch can keep. Raises StoreError for others."""
    if not -_LARGEST <= number < _LARGEST:
        raise StoreError("a record cannot be stored: a number is beyond 64 bits")
    return int(number)


def _finite(number: float) -> float:
    """Return a time that Elasticsearch can keep. Raises StoreError for others."""
    if not math.isfinite(number):
        raise StoreError(f"a record cannot be stored: its time is {number}")
    return float(number)
