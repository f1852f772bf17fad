"""Traces of turns in the embedded store: a table of its own, beside those of memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import orjson

from memgpt_proxy.stores.records import MOST_TRACES, Trace, TurnId
from memgpt_proxy.stores.sqlite.rows import Row
from memgpt_proxy.stores.storable import clean

INSERT = "INSERT OR IGNORE INTO traces VALUES (?, ?, ?, ?)"

PRUNE = """
DELETE FROM traces WHERE namespace = :namespace AND created < (
    SELECT created FROM traces WHERE namespace = :namespace
    ORDER BY created DESC LIMIT 1 OFFSET :most - 1
)
"""

SELECT = """
SELECT json_group_array(json_array(turn, printf('%!.17g', created), content)) FROM (
    SELECT turn, created, content FROM traces
    WHERE namespace = :namespace AND (created, turn) < (:created, :turn)
    ORDER BY created DESC, turn DESC LIMIT :limit
)
"""

_ENDS_OF_TIME = (float("inf"), "")


def row(namespace: str, trace: Trace) -> Row:
    """Return the row of a trace."""
    return (namespace, trace.created, clean(trace.turn), clean(trace.content))


def keep(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Insert rows, and delete those of the same namespaces that are too many."""
    inserted = list(rows)
    connection.executemany(INSERT, inserted)
    for namespace in {row[0] for row in inserted}:
        connection.execute(PRUNE, {"namespace": namespace, "most": MOST_TRACES})


def read(
    connection: sqlite3.Connection,
    namespace: str,
    limit: int,
    before: tuple[float, TurnId] | None,
) -> tuple[Trace, ...]:
    """Return traces, the newest first."""
    created, turn = before or _ENDS_OF_TIME
    asked = {"namespace": namespace, "created": created, "turn": clean(turn), "limit": limit}
    (found,) = connection.execute(SELECT, asked).fetchone()
    return tuple(_trace(*each) for each in orjson.loads(found))


def _trace(turn: Any, created: str, content: str) -> Trace:
    return Trace(turn, float(created), content)
