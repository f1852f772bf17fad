"""Writes: all that wait share one transaction and a handful of statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from memgpt_proxy.stores.protocols import StaleVersion, StoreError, StoreUnavailable
from memgpt_proxy.stores.sqlite.connection import store_error
from memgpt_proxy.stores.sqlite.rows import Row

MOST_ROWS = 64
"""Rows to one statement at most; each number of rows is a statement of its own to cache."""


@dataclass(frozen=True, slots=True)
class Insert:
    """A statement that inserts any number of rows.

    One for all rows, since each statement gives back the interpreter lock and has
    to win it again from a busy event loop.
    """

    into: str
    columns: int
    conflict: str = ""

    def statement(self, count: int) -> str:
        """Return the statement for ``count`` rows."""
        row = f"({', '.join('?' * self.columns)})"
        return f"{self.into} VALUES {', '.join([row] * count)} {self.conflict}"


INSERT_NODES = Insert(
    """INSERT INTO nodes (
        namespace, id, parent, depth, role, text, entries, tokens, created, queue,
        context_version, complete
    )""",
    12,
    """ON CONFLICT (namespace, id) DO UPDATE
        SET entries = excluded.entries, tokens = excluded.tokens, complete = 1
        WHERE excluded.complete AND NOT nodes.complete""",
)

INSERT_QUEUES = Insert(
    """INSERT OR REPLACE INTO queues (
        namespace, node, start, summary, context_version, context, messages, passages
    )""",
    8,
)

INSERT_PASSAGES = Insert(
    "INSERT INTO passages (namespace, id, text, created, node)",
    5,
    "ON CONFLICT (namespace, id) DO NOTHING",
)

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
    """What one caller asked for: rows to insert, or an edit."""

    nodes: Sequence[Row] = ()
    queues: Sequence[Row] = ()
    passages: Sequence[Row] = ()
    edit: ContextEdit | None = None


def carry_out(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[StoreError | None]:
    """Commit ``writes`` together, and return for each of them its error, if any.

    When one of them is at fault, each is committed alone, so that no other fails with it.
    """
    try:
        return _commit(connection, writes)
    except OverflowError as error:  # a number beyond 64 bits
        failure = StoreError(f"a record cannot be stored: {error}")
    except sqlite3.Error as error:
        failure = store_error(error)
    if len(writes) == 1 or isinstance(failure, StoreUnavailable):
        return [failure for _ in writes]
    return [outcome for write in writes for outcome in carry_out(connection, [write])]


def _commit(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[StoreError | None]:
    with _transaction(connection):
        _insert(connection, INSERT_NODES, [row for write in writes for row in write.nodes])
        _insert(connection, INSERT_QUEUES, [row for write in writes for row in write.queues])
        _insert(connection, INSERT_PASSAGES, [row for write in writes for row in write.passages])
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


def _insert(connection: sqlite3.Connection, insert: Insert, inserted: Sequence[Row]) -> None:
    for start in range(0, len(inserted), MOST_ROWS):
        chunk = inserted[start : start + MOST_ROWS]
        values = [value for row in chunk for value in row]
        connection.execute(insert.statement(len(chunk)), values)


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
