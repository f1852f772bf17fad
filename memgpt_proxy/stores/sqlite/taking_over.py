"""Writing the records of another store as they are, in place of those of the same name.

The schema's triggers keep the indexes and counts for what a turn writes, which replaces no text
and no node's queue: what they do not do, or do too much, is set right here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from memgpt_proxy.stores.portable import ContextVersion, Portable, StoredPassage
from memgpt_proxy.stores.records import Conversation, Node, Owner, QueueState
from memgpt_proxy.stores.sqlite import rows
from memgpt_proxy.stores.storable import clean

Kind = TypeVar("Kind", Node, QueueState, Conversation, StoredPassage, ContextVersion)

TAKE_NODE = """
INSERT INTO nodes (
    namespace, id, key, content, parent, depth, role, text, entries, tokens, created, queue,
    context_version, turn, complete, abandoned
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (namespace, id) DO UPDATE SET
    key = excluded.key, content = excluded.content, parent = excluded.parent,
    depth = excluded.depth, role = excluded.role, text = excluded.text,
    entries = excluded.entries, tokens = excluded.tokens, created = excluded.created,
    queue = excluded.queue, context_version = excluded.context_version, turn = excluded.turn,
    complete = excluded.complete, abandoned = excluded.abandoned
"""

KNOWN_NODES = """
SELECT number, id, text, queue FROM nodes
WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))
"""

UNINDEX = """
INSERT INTO messages_index (messages_index, rowid, namespace, text) VALUES ('delete', ?, ?, ?)
"""

INDEX = "INSERT INTO messages_index (rowid, namespace, text) VALUES (?, ?, ?)"

COUNT_MESSAGES = """
INSERT INTO namespaces (namespace, messages) VALUES (?1, ?2)
ON CONFLICT (namespace) DO UPDATE SET messages = messages + ?2
"""

TAKE_QUEUE = """
INSERT OR REPLACE INTO queues (
    namespace, node, start, summary, context_version, context, messages, passages, created
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

SET_QUEUE = "UPDATE nodes SET queue = ? WHERE number = ?"

TAKE_PASSAGE = """
INSERT INTO passages (namespace, id, text, created, node, turn) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (namespace, id) DO UPDATE SET
    text = excluded.text, created = excluded.created, node = excluded.node, turn = excluded.turn
"""

HIDE_CHANGED = """
UPDATE passages SET hidden = 1 WHERE namespace = ? AND id = ? AND text <> ? AND NOT hidden
"""

SET_HIDDEN = "UPDATE passages SET hidden = ?1 WHERE namespace = ?2 AND id = ?3 AND hidden <> ?1"

TAKE_CONTEXT = """
INSERT OR REPLACE INTO contexts (namespace, version, content, node, turn) VALUES (?, ?, ?, ?, ?)
"""

TAKE_CONVERSATION = """
INSERT OR REPLACE INTO conversations (namespace, name, tip, resends, created)
VALUES (?, ?, ?, ?, ?)
"""

HAS_VECTORS = "SELECT count(*) FROM sqlite_schema WHERE name = 'nodes_vectors'"

FORGET_VECTORS = "DELETE FROM {table}_vectors WHERE number = ?"

CHANGED_PASSAGE = "SELECT number FROM passages WHERE namespace = ? AND id = ? AND text <> ?"


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Records of an owner from another store."""

    owner: Owner
    records: Sequence[Portable]


def take_over(connection: sqlite3.Connection, taken: TakenOver) -> None:
    """Write the records; inside a transaction."""
    owner, records = taken.owner, taken.records
    _take_queues(connection, owner, _of_kind(records, QueueState))
    _take_nodes(connection, owner, _of_kind(records, Node))
    _take_passages(connection, owner, _of_kind(records, StoredPassage))
    versions = (
        (owner, each.version, clean(each.content), clean(each.node), clean(each.turn))
        for each in _of_kind(records, ContextVersion)
    )
    connection.executemany(TAKE_CONTEXT, versions)
    named = (rows.conversation_row(owner, each) for each in _of_kind(records, Conversation))
    connection.executemany(TAKE_CONVERSATION, named)


def _take_queues(
    connection: sqlite3.Connection, owner: Owner, queues: Sequence[QueueState]
) -> None:
    """Write queue states, and leave the nodes that they hang on as they are."""
    names = rows.ids_to_json(queue.node for queue in queues)
    known = connection.execute(KNOWN_NODES, (owner, names)).fetchall()
    connection.executemany(TAKE_QUEUE, (rows.queue_row(owner, queue) for queue in queues))
    connection.executemany(SET_QUEUE, ((queue, number) for number, _, _, queue in known))


def _take_nodes(connection: sqlite3.Connection, owner: Owner, nodes: Sequence[Node]) -> None:
    texts = {clean(node.id): clean(node.text) for node in nodes}
    known = connection.execute(KNOWN_NODES, (owner, rows.ids_to_json(texts))).fetchall()
    changed = [
        (number, text, texts[name]) for number, name, text, _ in known if text != texts[name]
    ]
    before = [(number, owner, text) for number, text, _ in changed if text]
    after = [(number, owner, text) for number, _, text in changed if text]
    connection.executemany(UNINDEX, before)
    taken = ((*rows.node_row(owner, node), node.abandoned) for node in nodes)
    connection.executemany(TAKE_NODE, taken)
    connection.executemany(INDEX, after)
    _forget_vectors(connection, "nodes", [number for number, _, _ in changed])
    if len(before) != len(after):
        connection.execute(COUNT_MESSAGES, (owner, len(after) - len(before)))


def _take_passages(
    connection: sqlite3.Connection, owner: Owner, stored: Sequence[StoredPassage]
) -> None:
    """Write passages. What changes its text leaves the index with the old, and comes back."""
    taken = [rows.passage_row(owner, each.passage) for each in stored]
    changed = [
        number for row in taken for (number,) in connection.execute(CHANGED_PASSAGE, row[:3])
    ]
    _forget_vectors(connection, "passages", changed)
    connection.executemany(HIDE_CHANGED, (row[:3] for row in taken))
    connection.executemany(TAKE_PASSAGE, taken)
    hidden = ((each.hidden, owner, clean(each.passage.id)) for each in stored)
    connection.executemany(SET_HIDDEN, hidden)


def _forget_vectors(connection: sqlite3.Connection, table: str, numbers: Sequence[int]) -> None:
    """Remove the vectors of texts that are no more; others are made in the background."""
    (has_vectors,) = connection.execute(HAS_VECTORS).fetchone() if numbers else (False,)
    if has_vectors:
        forget = FORGET_VECTORS.format(table=table)
        connection.executemany(forget, ((number,) for number in numbers))


def _of_kind(records: Iterable[Portable], kind: type[Kind]) -> list[Kind]:
    return [record for record in records if isinstance(record, kind)]
