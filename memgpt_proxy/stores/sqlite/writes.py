"""Writes: all that wait share one transaction and a handful of statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from memgpt_proxy.stores.protocols import StaleVersion, StoreError
from memgpt_proxy.stores.sqlite.connection import primary_code, store_error

EMPTY = b"[]"
"""A JSON array of no rows."""

INSERT_NODES = """
INSERT INTO nodes (
    namespace, id, parent, depth, role, text, entries, tokens, created, queue,
    context_version, complete
)
SELECT
    value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
    value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11
FROM json_each(?) WHERE true
ON CONFLICT (namespace, id) DO UPDATE
    SET entries = excluded.entries, tokens = excluded.tokens, complete = 1
    WHERE excluded.complete AND NOT nodes.complete
"""

INSERT_QUEUES = """
INSERT INTO queues (
    namespace, node, start, summary, context_version, context, messages, passages
)
SELECT
    value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
    value ->> 6, value ->> 7
FROM json_each(?) WHERE true
ON CONFLICT (namespace, node) DO UPDATE SET
    start = excluded.start, summary = excluded.summary,
    context_version = excluded.context_version, context = excluded.context,
    messages = excluded.messages, passages = excluded.passages
"""

NAME_QUEUES = """
UPDATE nodes SET queue = nodes.id
FROM json_each(?) AS queues
WHERE nodes.namespace = queues.value ->> 0 AND nodes.id = queues.value ->> 1
"""

INSERT_PASSAGES = """
INSERT INTO passages (namespace, id, text, created, node)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(?) WHERE true
ON CONFLICT (namespace, id) DO NOTHING
"""

INSERT_CONTEXT = """
INSERT INTO contexts (namespace, version, content, node)
SELECT :namespace, :expected + 1, :content, :node
WHERE :expected = coalesce((SELECT max(version) FROM contexts WHERE namespace = :namespace), 0)
"""


@dataclass(frozen=True, slots=True)
class ContextEdit:
    """Replace version ``expected`` of a working context."""

    namespace: str
    expected: int
    content: str
    node: str


@dataclass(frozen=True, slots=True)
class Write:
    """What one caller asked for: JSON arrays of rows, or an edit."""

    nodes: bytes = EMPTY
    queues: bytes = EMPTY
    passages: bytes = EMPTY
    edit: ContextEdit | None = None


def carry_out(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[StoreError | None]:
    """Commit ``writes`` together, and return for each of them its error, if any.

    When one of them is at fault, each is committed alone, so that no other fails with it.
    """
    try:
        return _commit(connection, writes)
    except sqlite3.Error as error:
        if len(writes) == 1 or primary_code(error) not in _FAULTS_OF_ONE:
            return [store_error(error) for _ in writes]
    return [outcome for write in writes for outcome in carry_out(connection, [write])]


_FAULTS_OF_ONE = {0, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}


def _commit(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[StoreError | None]:
    with _transaction(connection):
        _insert(connection, INSERT_NODES, (write.nodes for write in writes))
        queues = _insert(connection, INSERT_QUEUES, (write.queues for write in writes))
        if queues:
            connection.execute(NAME_QUEUES, (queues,))
        _insert(connection, INSERT_PASSAGES, (write.passages for write in writes))
        return [_edit(connection, write.edit) for write in writes]


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _insert(connection: sqlite3.Connection, statement: str, arrays: Iterable[bytes]) -> str:
    """Insert the rows of all ``arrays`` with one statement; return them as one array."""
    parts = [array[1:-1] for array in arrays if array != EMPTY]
    if not parts:
        return ""
    rows = (b"[" + b",".join(parts) + b"]").decode()
    connection.execute(statement, (rows,))
    return rows


def _edit(connection: sqlite3.Connection, edit: ContextEdit | None) -> StaleVersion | None:
    if edit is None:
        return None
    parameters = {
        "namespace": edit.namespace,
        "expected": edit.expected,
        "content": edit.content,
        "node": edit.node,
    }
    if connection.execute(INSERT_CONTEXT, parameters).rowcount == 1:
        return None
    return StaleVersion(f"the working context is no longer at version {edit.expected}")
