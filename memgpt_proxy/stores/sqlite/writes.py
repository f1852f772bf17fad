"""Writes: all that wait share one transaction and a handful of statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, replace

import orjson

from memgpt_proxy.stores.protocols import StaleVersion, StoreError, StoreUnavailable
from memgpt_proxy.stores.sqlite import erasing, rows, traces
from memgpt_proxy.stores.sqlite.connection import store_error
from memgpt_proxy.stores.sqlite.rows import Row
from memgpt_proxy.stores.sqlite.taking_over import TakenOver, take_over
from memgpt_proxy.values import dataclass

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
        namespace, id, key, content, parent, depth, role, text, entries, tokens, created, queue,
        context_version, turn, complete
    )""",
    15,
    """ON CONFLICT (namespace, id) DO UPDATE
        SET entries = excluded.entries, tokens = excluded.tokens, complete = 1,
            turn = iif(excluded.turn = '', nodes.turn, excluded.turn),
            queue = iif(excluded.turn IN ('', nodes.turn), nodes.queue, excluded.queue),
            context_version = iif(excluded.turn IN ('', nodes.turn),
                nodes.context_version, excluded.context_version),
            abandoned = iif(excluded.turn IN ('', nodes.turn), nodes.abandoned, 0)
        WHERE excluded.complete
            AND (NOT nodes.complete OR excluded.turn NOT IN ('', nodes.turn))""",
)

KNOWN = """
SELECT json_group_array(json_array(nodes.namespace, nodes.id)) FROM json_each(?) AS named
CROSS JOIN nodes ON nodes.namespace = named.value ->> 0 AND nodes.id = named.value ->> 1
"""
"""Asked before the rows are inserted: what an insert returns comes a row at a time."""

_REPLACE_QUEUE = """ON CONFLICT (namespace, node) DO UPDATE
    SET start = excluded.start, summary = excluded.summary,
        context_version = excluded.context_version, context = excluded.context,
        messages = excluded.messages, passages = excluded.passages, created = excluded.created"""

INSERT_QUEUES = Insert(
    """INSERT INTO queues (
        namespace, node, start, summary, context_version, context, messages, passages, created
    )""",
    9,
    _REPLACE_QUEUE,
)

INSERT_WAITED_QUEUES = replace(
    INSERT_QUEUES, conflict=f"{_REPLACE_QUEUE} WHERE excluded.created >= queues.created"
)

INSERT_PASSAGES = Insert(
    "INSERT INTO passages (namespace, id, text, created, node, turn)",
    6,
    "ON CONFLICT (namespace, id) DO NOTHING",
)

_REPLACE_CONVERSATION = """ON CONFLICT (namespace, name) DO UPDATE
    SET tip = excluded.tip, resends = excluded.resends, created = excluded.created"""

INSERT_CONVERSATIONS = Insert(
    "INSERT INTO conversations (namespace, name, tip, resends, created)", 5, _REPLACE_CONVERSATION
)

INSERT_WAITED_CONVERSATIONS = replace(
    INSERT_CONVERSATIONS,
    conflict=f"{_REPLACE_CONVERSATION} WHERE excluded.created >= conversations.created",
)

PLACE = "SELECT queue, context_version FROM nodes WHERE namespace = ? AND id = ?"

LEAVE = """
WITH RECURSIVE behind (id) AS (
    SELECT value FROM json_each(:left)
    UNION
    SELECT nodes.id FROM behind
    CROSS JOIN nodes ON nodes.namespace = :namespace AND nodes.parent = behind.id
)
UPDATE nodes SET abandoned = 1
WHERE namespace = :namespace AND id IN (SELECT id FROM behind)
    AND id NOT IN (SELECT value FROM json_each(:kept)) AND NOT abandoned
"""

TAKE_UP = """
WITH RECURSIVE way (id, parent) AS (
    SELECT id, parent FROM nodes WHERE namespace = :namespace AND id = :taken_up
    UNION
    SELECT nodes.id, nodes.parent FROM way
    CROSS JOIN nodes ON nodes.namespace = :namespace AND nodes.id = way.parent
)
UPDATE nodes SET abandoned = 0
WHERE namespace = :namespace AND id IN (SELECT id FROM way) AND abandoned
"""

SET_HIDDEN = """
UPDATE passages SET hidden = :hidden
WHERE namespace = :namespace AND turn IN (SELECT value FROM json_each(:turns)) AND turn <> ''
    AND hidden <> :hidden
"""

INSERT_CONTEXT = """
INSERT INTO contexts (namespace, version, content, node, turn)
SELECT :namespace, :expected + 1, :content, :node, :turn
WHERE :expected = coalesce((SELECT max(version) FROM contexts WHERE namespace = :namespace), 0)
"""


INSERT_SPACE = """
INSERT INTO spaces (model, dimensions) VALUES (:model, :dimensions) ON CONFLICT DO NOTHING
"""

PUT_VECTORS = """
INSERT INTO {table}_vectors (number, namespace, space, vector)
SELECT {table}.number, {table}.namespace,
    (SELECT number FROM spaces WHERE model = :model AND dimensions = :dimensions),
    iif(named.value ->> 2, substr(:vectors, named.key * :size + 1, :size), NULL)
FROM json_each(:named) AS named
CROSS JOIN {table} ON {table}.namespace = named.value ->> 0 AND {table}.id = named.value ->> 1
WHERE {table}.text <> ''
ON CONFLICT (number) DO UPDATE
SET namespace = excluded.namespace, space = excluded.space, vector = excluded.vector
"""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Replace version ``expected`` of a working context."""

    namespace: str
    expected: int
    content: str
    node: str
    turn: str = ""


@dataclass(frozen=True, slots=True)
class Visibility:
    """Hide, or show, the passages of ``turns``, a JSON array."""

    namespace: str
    turns: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class Forked:
    """A fork: ``left`` and ``kept`` are JSON arrays of ids; an empty ``taken_up`` is none."""

    namespace: str
    left: str
    kept: str
    taken_up: str


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors to store, of messages or of passages.

    Attributes:
        table: ``nodes`` or ``passages``.
        named: JSON array of ``[namespace, id, 1]``, or 0 for one without a vector.
        vectors: Of each, one after the other; where there is none, any bytes.
        size: Bytes of one vector.
    """

    table: str
    model: str
    dimensions: int
    named: str
    vectors: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Write:
    """What one caller asked for: rows to insert, or a change.

    Attributes:
        waited: Of queue states and conversations, those that were made later stay.
        unplaced: The nodes take their queue from what the first of them hangs on.
        probe: Have a page written though nothing changes: a full disk lets a transaction begin.
        erasing: A step of removing what an owner has.
        empties_log: Nothing that was removed is to stay in the log.
    """

    nodes: Sequence[Row] = ()
    queues: Sequence[Row] = ()
    fork: Forked | None = None
    conversations: Sequence[Row] = ()
    waited: bool = False
    unplaced: bool = False
    passages: Sequence[Row] = ()
    visibility: Visibility | None = None
    edit: NewVersion | None = None
    vectors: Vectors | None = None
    taken_over: TakenOver | None = None
    traces: Sequence[Row] = ()
    probe: bool = False
    erasing: erasing.Step | None = None
    empties_log: bool = False


Done = StoreError | tuple[str, ...]
"""What became of a write: its error, or which of its nodes were there before."""

AGAIN = ("again",)
"""What became of a step of removing that has another behind it."""


def carry_out(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Done]:
    """Commit ``writes`` together, and return what became of each.

    When one of them is at fault, each is committed alone, so that no other fails with it.
    """
    try:
        done = _commit(connection, writes)
        return [
            _log_emptied(connection) if write.empties_log else each
            for write, each in zip(writes, done, strict=True)
        ]
    except OverflowError as error:  # a number beyond 64 bits
        failure = StoreError(f"a record cannot be stored: {error}")
    except sqlite3.Error as error:
        failure = store_error(error)
    if len(writes) == 1 or isinstance(failure, StoreUnavailable):
        return [failure for _ in writes]
    return [outcome for write in writes for outcome in carry_out(connection, [write])]


def _commit(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Done]:
    with _transaction(connection):
        for write in writes:  # before the nodes, for those of its record are live
            _fork(connection, write.fork)
        known = _insert_records(connection, writes)
        _insert(connection, INSERT_PASSAGES, [row for write in writes for row in write.passages])
        for write in writes:
            _set_hidden(connection, write.visibility)
            _put_vectors(connection, write.vectors)
            if write.taken_over is not None:
                take_over(connection, write.taken_over)
        traces.keep(connection, [row for write in writes for row in write.traces])
        if any(write.probe for write in writes):
            _probe(connection)
        return [
            _edit(connection, write.edit)
            or _erase(connection, write.erasing)
            or _known(write, known)
            for write in writes
        ]


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _probe(connection: sqlite3.Connection) -> None:
    """Write the schema's version anew; which it is may be another process's to say."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def _known(write: Write, known: Set[Row]) -> tuple[str, ...]:
    """Return the names of those of a write's nodes that are among the known ones."""
    return tuple(str(row[1]) for row in write.nodes if row[:2] in known) if known else ()


def _insert_nodes(connection: sqlite3.Connection, nodes: Sequence[Row]) -> set[Row]:
    """Insert nodes, and return namespace and id of those that were there before."""
    if not nodes:
        return set()
    named = orjson.dumps([row[:2] for row in nodes]).decode()
    (known,) = connection.execute(KNOWN, (named,)).fetchone()
    _insert(connection, INSERT_NODES, nodes)
    return set(map(tuple, orjson.loads(known)))


def _insert(connection: sqlite3.Connection, insert: Insert, inserted: Sequence[Row]) -> None:
    for start in range(0, len(inserted), MOST_ROWS):
        chunk = inserted[start : start + MOST_ROWS]
        values = [value for row in chunk for value in row]
        connection.execute(insert.statement(len(chunk)), values)


def _insert_records(connection: sqlite3.Connection, writes: Sequence[Write]) -> Set[Row]:
    """Insert what turns leave behind; what waited or has no place comes last.

    Returns namespace and id of the nodes that were there before.
    """
    placed = [row for write in writes if not write.unplaced for row in write.nodes]
    known = _insert_nodes(connection, placed)
    for write in writes:
        if write.unplaced:
            known |= _insert_nodes(connection, _placed(connection, write.nodes))
    for waited, queues, conversations in (
        (False, INSERT_QUEUES, INSERT_CONVERSATIONS),
        (True, INSERT_WAITED_QUEUES, INSERT_WAITED_CONVERSATIONS),
    ):
        of_these = [write for write in writes if write.waited is waited]
        _insert(connection, queues, [row for write in of_these for row in write.queues])
        named = [row for write in of_these for row in write.conversations]
        _insert(connection, conversations, named)
    return known


def _placed(connection: sqlite3.Connection, nodes: Sequence[Row]) -> Sequence[Row]:
    """Return nodes with the queue and context version of what the first of them hangs on."""
    if not nodes:
        return ()
    namespace, _, _, _, parent, *_ = nodes[0]
    found = connection.execute(PLACE, (namespace, parent)).fetchone()
    return [rows.placed(row, *found) for row in nodes] if found else nodes


def _fork(connection: sqlite3.Connection, fork: Forked | None) -> None:
    if fork is not None:
        connection.execute(LEAVE, asdict(fork))
        connection.execute(TAKE_UP, asdict(fork))


def _set_hidden(connection: sqlite3.Connection, visibility: Visibility | None) -> None:
    if visibility is not None:
        connection.execute(SET_HIDDEN, asdict(visibility))


def _edit(connection: sqlite3.Connection, edit: NewVersion | None) -> StaleVersion | None:
    if edit is None or connection.execute(INSERT_CONTEXT, asdict(edit)).rowcount == 1:
        return None
    return StaleVersion(f"the working context is no longer at version {edit.expected}")


def _erase(connection: sqlite3.Connection, step: erasing.Step | None) -> tuple[str, ...]:
    return AGAIN if step is not None and erasing.take(connection, step) else ()


def _log_emptied(connection: sqlite3.Connection) -> tuple[str, ...]:
    return () if erasing.empty_log(connection) else AGAIN


def _put_vectors(connection: sqlite3.Connection, vectors: Vectors | None) -> None:
    if vectors is not None:
        connection.execute(INSERT_SPACE, asdict(vectors))
        connection.execute(PUT_VECTORS.format(table=vectors.table), asdict(vectors))
