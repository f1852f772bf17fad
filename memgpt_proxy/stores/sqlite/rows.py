"""Records to JSON rows and back.

Rows travel as one JSON text in each direction: a statement with many rows takes and
gives back the interpreter lock once and not once a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import (
    Counts,
    Hit,
    Namespace,
    Node,
    Passage,
    QueueState,
    Role,
    WorkingContext,
)

Value = str | int | float | bool

NODE_COLUMNS = (
    "nodes.id, nodes.parent, depth, role, text, entries, tokens, printf('%!.17g', created),"
    " queue, context_version, complete"
)
"""What ``node`` expects; 17 digits, for JSON functions print a float with only 15."""

QUEUE_COLUMNS = "node, start, summary, context_version, context, messages, passages"
"""What ``queue_state`` expects."""

HIT_COLUMNS = "id, text, printf('%!.17g', created)"
"""What ``hit`` expects."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def digits(namespace: Namespace) -> str:
    """Return the digits that stand for a namespace: one token, which no stemmer changes."""
    name = namespace.encode("utf-8", "surrogatepass")
    return str(int.from_bytes(blake2b(name, digest_size=16).digest()))


def clean(text: str) -> str:
    """Return ``text`` with U+FFFD for what SQLite's JSON cannot hold: NUL, lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text)


def to_json(rows: Sequence[Sequence[Value]]) -> bytes:
    """Return a JSON array of rows. Raises StoreError for a number out of range."""
    try:
        encoded = orjson.dumps(rows)
        if b"\\u0000" not in encoded:
            return encoded
    except orjson.JSONEncodeError:  # a lone surrogate, most likely
        pass
    try:
        return orjson.dumps([[_cleaned(value) for value in row] for row in rows])
    except orjson.JSONEncodeError as error:
        raise StoreError(f"a record cannot be stored: {error}") from error


def ids_to_json(ids: Iterable[str]) -> str:
    """Return a JSON array of ids."""
    return orjson.dumps([clean(name) for name in ids]).decode()


def from_json(text: str) -> list[Any]:
    """Return the rows in what a statement answered."""
    rows: list[Any] = orjson.loads(text)
    return rows


def node_row(namespace: str, node: Node) -> tuple[Value, ...]:
    """Return the columns of ``nodes``, in the order of the insert statement."""
    return (
        namespace,
        node.id,
        node.parent,
        node.depth,
        node.role,
        node.text,
        node.entries,
        node.tokens,
        node.created,
        node.queue,
        node.context_version,
        node.complete,
    )


def queue_row(namespace: str, queue: QueueState) -> tuple[Value, ...]:
    """Return the columns of ``queues``, in the order of the insert statement."""
    return (
        namespace,
        queue.node,
        queue.start,
        queue.summary,
        queue.context.version,
        queue.context.content,
        queue.counts.messages,
        queue.counts.passages,
    )


def passage_row(namespace: str, passage: Passage) -> tuple[Value, ...]:
    """Return the columns of ``passages``, in the order of the insert statement."""
    return namespace, passage.id, passage.text, passage.created, passage.node


def node(row: Sequence[Any]) -> Node:
    """Return the node in a row of ``NODE_COLUMNS``."""
    name, parent, depth, role, text, entries, tokens, created, queue, version, complete = row
    return Node(
        id=name,
        parent=parent,
        depth=depth,
        role=Role(role),
        text=text,
        entries=entries,
        tokens=tokens,
        created=float(created),
        queue=queue,
        context_version=version,
        complete=bool(complete),
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
    """Return the search result in a row of ``HIT_COLUMNS``."""
    name, text, created = row
    return Hit(id=name, text=text, created=float(created))


def _cleaned(value: Value) -> Value:
    return clean(value) if isinstance(value, str) else value
