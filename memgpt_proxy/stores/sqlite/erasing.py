"""Removing all that an owner has: rows, index entries, vectors, and what the file keeps of them.

It goes step by step, so that other writes come in between: rows first, then each full-text index
is merged into one, for it only marks what is deleted, and keeps its words until then. To merge it
piece by piece (FTS5's ``merge``, below zero) is no way: done often amid writes, it ends in a
malformed index (seen with SQLite 3.40).
"""

# ruff: noqa: S608 - statements are put together from names in the code, never from values

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

import orjson

from memgpt_proxy.stores.records import Holdings, Owner

MOST_ROWS = 128
"""Rows of one step: some 20 ms."""

CHECKPOINT_MILLISECONDS = 100
"""How long a step waits for reads that keep it from emptying the log."""

UNINDEX = {
    "nodes": """
        INSERT INTO messages_index (messages_index, rowid, namespace, text)
        SELECT 'delete', number, namespace, text
        FROM json_each(?1) AS gone CROSS JOIN nodes ON number = gone.value WHERE text <> ''
    """,
    "passages": """
        INSERT INTO passages_index (passages_index, rowid, namespace, text)
        SELECT 'delete', number, namespace, text
        FROM json_each(?1) AS gone CROSS JOIN passages ON number = gone.value WHERE NOT hidden
    """,
}

COUNTED = {
    "nodes": """
        UPDATE namespaces SET messages = messages - (
            SELECT count(*) FROM json_each(?1) AS gone CROSS JOIN nodes ON number = gone.value
            WHERE text <> ''
        ) WHERE namespace = ?2
    """,
    "passages": """
        UPDATE namespaces SET passages = passages - (
            SELECT count(*) FROM json_each(?1) AS gone CROSS JOIN passages ON number = gone.value
            WHERE NOT hidden
        ) WHERE namespace = ?2
    """,
}

NAMED = {"conversations": "name", "queues": "node", "contexts": "version", "traces": "created"}
"""Tables without texts that are searched, and what tells their rows apart."""

FORGET_COUNTS = """
DELETE FROM namespaces WHERE namespace = ? AND messages <= 0 AND passages <= 0
"""

HAS_VECTORS = "SELECT count(*) FROM sqlite_schema WHERE name = 'nodes_vectors'"

HOLDINGS = ", ".join(
    f"(SELECT count(*) FROM {table} WHERE namespace = ?1)"
    for table in ("nodes", "queues", "conversations", "passages", "contexts", "traces")
)

VECTORS = " + ".join(
    f"(SELECT count(*) FROM {table}_vectors WHERE namespace = ?1 AND vector IS NOT NULL)"
    for table in ("nodes", "passages")
)


class Stage(StrEnum):
    """What a step does: it removes some rows, merges an index, or forgets the owner at last."""

    ROWS = "rows"
    MESSAGES = "messages_index"
    PASSAGES = "passages_index"
    OWNER = "owner"


REMOVING = (Stage.ROWS, Stage.MESSAGES, Stage.PASSAGES)

INDEXED = " + ".join(
    f"(SELECT count(*) FROM {index} WHERE {index} MATCH ?1)"
    for index in (Stage.MESSAGES, Stage.PASSAGES)
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of removing what an owner has."""

    owner: Owner
    stage: Stage


def take(connection: sqlite3.Connection, step: Step) -> bool:
    """Take a step, inside a transaction; return whether there may be more to do."""
    if step.stage is Stage.OWNER:
        connection.execute(FORGET_COUNTS, (step.owner,))
        return False
    if step.stage is not Stage.ROWS:
        connection.execute(f"INSERT INTO {step.stage} ({step.stage}) VALUES ('optimize')")
        return False
    return _remove_named(connection, step.owner) or _remove_texts(connection, step.owner)


def _remove_named(connection: sqlite3.Connection, owner: Owner) -> bool:
    for table, name in NAMED.items():
        gone = connection.execute(
            f"""DELETE FROM {table} WHERE namespace = ?1 AND {name} IN (
                SELECT {name} FROM {table} WHERE namespace = ?1 LIMIT {MOST_ROWS}
            )""",
            (owner,),
        )
        if gone.rowcount:
            return True
    return False


def _remove_texts(connection: sqlite3.Connection, owner: Owner) -> bool:
    for table, unindex in UNINDEX.items():
        found = connection.execute(
            f"SELECT number FROM {table} WHERE namespace = ? LIMIT {MOST_ROWS}", (owner,)
        ).fetchall()
        if found:
            gone = orjson.dumps([number for (number,) in found]).decode()
            connection.execute(unindex, (gone,))
            connection.execute(COUNTED[table], (gone, owner))
            # Their vectors go with them, by a trigger.
            connection.execute(
                f"DELETE FROM {table} WHERE number IN (SELECT value FROM json_each(?))", (gone,)
            )
            return True
    return False


def empty_log(connection: sqlite3.Connection) -> bool:
    """Fold the log into the file and cut it to nothing; return False where reads are in its way."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_MILLISECONDS}")
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
    return not busy


def holdings(connection: sqlite3.Connection, owner: Owner) -> Holdings:
    """Return how many records an owner has."""
    counts = connection.execute(f"SELECT {HOLDINGS}", (owner,)).fetchone()
    (has_vectors,) = connection.execute(HAS_VECTORS).fetchone()
    vectors = connection.execute(f"SELECT {VECTORS}", (owner,)).fetchone() if has_vectors else (0,)
    return Holdings(*counts, *vectors)


def is_known(connection: sqlite3.Connection, owner: Owner) -> bool:
    """Return whether an owner has had texts that were not erased to the end."""
    there = "SELECT 1 FROM namespaces WHERE namespace = ?"
    return connection.execute(there, (owner,)).fetchone() is not None


def indexed(connection: sqlite3.Connection, owner: Owner) -> int:
    """Return how many texts of an owner the full-text indexes have."""
    (texts,) = connection.execute(f"SELECT {INDEXED}", (f'namespace:"{owner}"',)).fetchone()
    return int(texts)
