"""Reads by id: each is one statement that answers with one row (see ``rows`` for why)."""

# ruff: noqa: S608 - statements are put together from names in the code, never from values

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Counts, Node, TurnState, WorkingContext
from memgpt_proxy.stores.sqlite import rows

FURTHER_LOOKS = 16
"""Each further look up a chain is so many times longer than the one before."""

NO_CONTEXT = WorkingContext(0, "")
NO_COUNTS = Counts(0, 0)

READ_TURN = f"""
WITH RECURSIVE
last AS (
    SELECT asked.key AS position, number, nodes.parent, depth, queue
    FROM json_each(:ids) AS asked
    CROSS JOIN nodes ON nodes.namespace = :namespace AND nodes.id = asked.value
    ORDER BY asked.key DESC LIMIT 1
),
state AS (
    SELECT queues.* FROM last
    JOIN queues ON queues.namespace = :namespace AND queues.node = last.queue
),
branch (number, parent, depth) AS (
    SELECT number, parent, depth FROM last
    UNION ALL
    SELECT nodes.number, nodes.parent, nodes.depth FROM branch
    JOIN nodes ON nodes.namespace = :namespace AND nodes.id = branch.parent
    WHERE nodes.depth < branch.depth
        AND nodes.depth >= coalesce((SELECT start FROM state), 0)
)
SELECT
    (SELECT position FROM last),
    (SELECT json_array({rows.QUEUE_COLUMNS}) FROM state),
    (
        SELECT json_group_array(json_array({rows.NODE_COLUMNS}))
        FROM (SELECT number FROM branch) JOIN nodes USING (number)
        WHERE depth >= coalesce((SELECT start FROM state), 0)
    ),
    (
        SELECT json_array(version, content) FROM contexts
        WHERE namespace = :namespace ORDER BY version DESC LIMIT 1
    ),
    (SELECT json_array(messages, passages) FROM namespaces WHERE namespace = :namespace)
"""

NODES = f"""
SELECT json_group_array(json_array(asked.key, {rows.NODE_COLUMNS}))
FROM json_each(:ids) AS asked
CROSS JOIN nodes ON nodes.namespace = :namespace AND nodes.id = asked.value
"""

CONTEXT = """
SELECT version, content FROM contexts
WHERE namespace = :namespace ORDER BY version DESC LIMIT 1
"""

CONTEXT_AT = """
SELECT version, content FROM contexts WHERE namespace = :namespace AND version = :version
"""

COUNTS = "SELECT messages, passages FROM namespaces WHERE namespace = :namespace"


def read_turn(
    connection: sqlite3.Connection, namespace: str, chain: Sequence[str], look: int
) -> TurnState:
    """Find the last known id of ``chain``, and read what a turn needs that follows it.

    Ids before a known one are known, so it is looked for in the last ``look`` ids first.
    """
    end = len(chain)
    while True:
        start = max(0, end - look)
        parameters = {"namespace": namespace, "ids": rows.ids_to_json(chain[start:end])}
        (position, queue, nodes, context, counts) = connection.execute(
            READ_TURN, parameters
        ).fetchone()
        if position is not None or start == 0:
            break
        end, look = start, look * FURTHER_LOOKS
    return TurnState(
        known=0 if position is None else start + position + 1,
        nodes=tuple(sorted(map(rows.node, rows.from_json(nodes)), key=lambda node: node.depth)),
        queue=rows.queue_state(rows.from_json(queue)) if queue else None,
        context=WorkingContext(*rows.from_json(context)) if context else NO_CONTEXT,
        counts=Counts(*rows.from_json(counts)) if counts else NO_COUNTS,
    )


def read_nodes(
    connection: sqlite3.Connection, namespace: str, ids: Sequence[str]
) -> tuple[Node, ...]:
    """Return the known ones of ``ids``, in the order asked."""
    parameters = {"namespace": namespace, "ids": rows.ids_to_json(ids)}
    (found,) = connection.execute(NODES, parameters).fetchone()
    return tuple(rows.node(columns) for _, *columns in sorted(rows.from_json(found)))


def context(connection: sqlite3.Connection, namespace: str) -> WorkingContext:
    """Return the newest version of the working context."""
    found = connection.execute(CONTEXT, {"namespace": namespace}).fetchone()
    return WorkingContext(*found) if found else NO_CONTEXT


def context_at(connection: sqlite3.Connection, namespace: str, version: int) -> WorkingContext:
    """Return a version of the working context. Raises StoreError if it is unknown."""
    if version == 0:
        return NO_CONTEXT
    parameters = {"namespace": namespace, "version": version}
    found = connection.execute(CONTEXT_AT, parameters).fetchone()
    if found is None:
        raise StoreError(f"the working context has no version {version}")
    return WorkingContext(*found)


def counts(connection: sqlite3.Connection, namespace: str) -> Counts:
    """Return how many messages and passages the namespace has."""
    found = connection.execute(COUNTS, {"namespace": namespace}).fetchone()
    return Counts(*found) if found else NO_COUNTS
