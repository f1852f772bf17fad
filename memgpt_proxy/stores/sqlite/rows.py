"""Records to rows, and back from JSON.

What is read comes back as one JSON text: a row by itself costs giving the interpreter
lock back and winning it again from a busy event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson

from memgpt_proxy.stores.records import (
    Conversation,
    Counts,
    Hit,
    Node,
    Passage,
    QueueState,
    Role,
    WorkingContext,
)
from memgpt_proxy.stores.storable import clean

Row = tuple[str | int | float, ...]
"""Values in the order of the columns of an insert statement (see ``writes``)."""

NODE_COLUMNS = (
    "nodes.id, nodes.key, nodes.content, nodes.parent, nodes.depth, nodes.role, nodes.text,"
    " nodes.entries, nodes.tokens, printf('%!.17g', nodes.created), nodes.queue,"
    " nodes.context_version, nodes.turn, nodes.complete, nodes.abandoned"
)
"""What ``node`` expects; 17 digits, for JSON functions print a float with only 15."""

QUEUE_COLUMNS = "node, start, summary, context_version, context, messages, passages"
"""What ``queue_state`` expects."""

_QUEUE = 11
"""Where in a node's row its queue stands, with its context version behind it."""

HIT_COLUMNS = "id, text, printf('%!.17g', created)"
"""What ``hit`` expects of a passage."""

MESSAGE_HIT_COLUMNS = f"{HIT_COLUMNS}, role, abandoned"
"""What it expects of a message."""


def ids_to_json(ids: Iterable[str]) -> str:
    """Return a JSON array of ids."""
    return orjson.dumps([clean(name) for name in ids]).decode()


def from_json(text: str) -> list[Any]:
    """Return the rows in what a statement answered."""
    rows: list[Any] = orjson.loads(text)
    return rows


def node_row(namespace: str, node: Node) -> Row:
    """Return the row of ``nodes`` for a node."""
    return (
        namespace,
        clean(node.id),
        "" if node.key == node.id else clean(node.key),
        clean(node.content),
        clean(node.parent),
        node.depth,
        node.role.value,
        clean(node.text),
        clean(node.entries),
        node.tokens,
        node.created,
        clean(node.queue),
        node.context_version,
        clean(node.turn),
        node.complete,
    )


def placed(row: Row, queue: str, context_version: int) -> Row:
    """Return the row of a node with this queue and context version."""
    return (*row[:_QUEUE], queue, context_version, *row[_QUEUE + 2 :])


def queue_row(namespace: str, queue: QueueState, created: float = 0.0) -> Row:
    """Return the row of ``queues`` for a queue state; ``created`` is its record's time."""
    return (
        namespace,
        clean(queue.node),
        queue.start,
        clean(queue.summary),
        queue.context.version,
        clean(queue.context.content),
        queue.counts.messages,
        queue.counts.passages,
        created,
    )


def passage_row(namespace: str, passage: Passage) -> Row:
    """Return the row of ``passages`` for a passage."""
    return (
        namespace,
        clean(passage.id),
        clean(passage.text),
        passage.created,
        clean(passage.node),
        clean(passage.turn),
    )


def conversation_row(namespace: str, conversation: Conversation, created: float = 0.0) -> Row:
    """Return the row of ``conversations``; ``created`` is its record's time."""
    return (
        namespace,
        clean(conversation.name),
        clean(conversation.tip),
        conversation.resends,
        created,
    )


def node(row: Sequence[Any]) -> Node:
    """Return the node in a row of ``NODE_COLUMNS``."""
    name, key, content, parent, depth, role, text, entries, *numbers = row
    tokens, created, queue, version, turn, complete, abandoned = numbers
    return Node(
        id=name,
        key=key or name,
        content=content,
        parent=parent,
        depth=depth,
        role=Role(role),
        text=text,
        entries=entries,
        tokens=tokens,
        created=float(created),
        queue=queue,
        context_version=version,
        turn=turn,
        complete=bool(complete),
        abandoned=bool(abandoned),
    )


def queue_state(row: Sequence[Any]) -> QueueState:
    """Return the queue state in a row of ``QUEUE_COLUMNS``."""
    name, start, summary, version, content, messages, passages = row
    return QueueState(
        node=name,
        start=start,
        summary=summary,
        context=WorkingContext(version, content),
        counts=Counts(messages, passages),
    )


def hit(row: Sequence[Any]) -> Hit:
    """Return the search result in a row of ``HIT_COLUMNS`` or ``MESSAGE_HIT_COLUMNS``."""
    name, text, created, *of_message = row
    found = Hit(id=name, text=text, created=float(created))
    if not of_message:
        return found
    role, abandoned = of_message
    return replace(found, role=Role(role), abandoned=bool(abandoned))
