"""Reads by id: each is one statement that answers with one row (see ``rows`` for why)."""

# ruff: noqa: S608 - statements are put together from names in the code, never from values

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import (
    MOST_AFTER,
    ContextEdit,
    Conversation,
    Counts,
    Node,
    NodeId,
    TurnId,
    TurnState,
    WorkingContext,
)
from memgpt_proxy.stores.sqlite import rows
from memgpt_proxy.stores.storable import clean

FURTHER_LOOKS = 16
"""Each further look up a chain is so many times longer than the one before."""

NO_CONTEXT = WorkingContext(0, "")
NO_COUNTS = Counts(0, 0)

NEWEST_OF_KEY = """
SELECT number FROM nodes AS twin
WHERE twin.namespace = :namespace AND twin.key = asked.value AND twin.key <> ''
ORDER BY twin.created DESC, twin.number DESC LIMIT 1
"""


def _below(start: str) -> str:
    """Return the table of what follows ``start.id``, nearest first, of equally near ones newest."""
    children = f"""
        CROSS JOIN nodes ON nodes.number IN (
            SELECT number FROM nodes AS child
            WHERE child.namespace = :namespace AND child.parent = {{0}}.id
            ORDER BY child.created DESC, child.id LIMIT {MOST_AFTER}
        )
    """
    return f"""
        below (number, id, depth, created) AS (
            SELECT nodes.number, nodes.id, nodes.depth, nodes.created
            FROM {start} {children.format(start)}
            UNION ALL
            SELECT nodes.number, nodes.id, nodes.depth, nodes.created
            FROM below {children.format("below")}
            ORDER BY 3, 4 DESC, 2 LIMIT {MOST_AFTER}
        )
    """


def _listed(table: str) -> str:
    """Return the columns of all nodes in ``table``, as JSON."""
    return f"""
        SELECT json_group_array(json_array({rows.NODE_COLUMNS}))
        FROM (SELECT number FROM {table}) CROSS JOIN nodes USING (number)
    """


READ_TURN = f"""
WITH RECURSIVE
found (position, number) AS (
    SELECT asked.key, nodes.number FROM json_each(:keys) AS asked
    CROSS JOIN nodes ON nodes.namespace = :namespace AND nodes.id = asked.value
    UNION ALL
    SELECT asked.key, ({NEWEST_OF_KEY}) FROM json_each(:keys) AS asked
),
last AS MATERIALIZED (
    SELECT position, number, nodes.id, nodes.parent, depth, queue
    FROM found CROSS JOIN nodes USING (number)
    ORDER BY position DESC, created DESC, number DESC LIMIT 1
),
state AS MATERIALIZED (
    SELECT queues.* FROM last
    CROSS JOIN queues ON queues.namespace = :namespace AND queues.node = last.queue
),
branch (number, parent, depth) AS (
    SELECT number, parent, depth FROM last
    WHERE depth >= coalesce((SELECT start FROM state), 0)
    UNION ALL
    SELECT nodes.number, nodes.parent, nodes.depth FROM branch
    CROSS JOIN nodes ON nodes.namespace = :namespace AND nodes.id = branch.parent
    WHERE nodes.depth < branch.depth
        AND nodes.depth >= coalesce((SELECT start FROM state), 0)
),
{_below("last")}
SELECT
    (SELECT position FROM last),
    (SELECT json_array({rows.QUEUE_COLUMNS}) FROM state),
    ({_listed("branch")}),
    (
        SELECT json_array(version, content) FROM contexts
        WHERE namespace = :namespace ORDER BY version DESC LIMIT 1
    ),
    (SELECT json_array(messages, passages) FROM namespaces WHERE namespace = :namespace),
    ({_listed("below")}),
    (
        SELECT count(*) FROM (
            SELECT 1 FROM nodes WHERE namespace = :namespace AND id = :opening
            UNION ALL
            SELECT 1 FROM (
                SELECT 1 FROM nodes
                WHERE namespace = :namespace AND key = :opening AND key <> '' LIMIT 2
            )
        )
    )
"""

PATH = f"""
WITH RECURSIVE path (number, parent, depth) AS (
    SELECT number, parent, depth FROM nodes WHERE namespace = :namespace AND id = :node
    UNION ALL
    SELECT nodes.number, nodes.parent, nodes.depth FROM path
    CROSS JOIN nodes ON nodes.namespace = :namespace AND nodes.id = path.parent
    WHERE nodes.depth < path.depth
    LIMIT :length
)
{_listed("path")}
"""

AFTER = f"WITH RECURSIVE asked (id) AS (SELECT :node), {_below('asked')} {_listed('below')}"

WITH_CONTENT = f"""
SELECT json_group_array(json_array(nodes.number, {rows.NODE_COLUMNS}))
FROM json_each(:contents) AS asked
CROSS JOIN nodes ON nodes.number IN (
    SELECT number FROM nodes AS said
    WHERE said.namespace = :namespace AND said.content = asked.value
    ORDER BY said.created DESC, said.number DESC LIMIT :limit
)
"""

CONVERSATION = """
SELECT name, tip, resends FROM conversations WHERE namespace = :namespace AND name = :name
"""

CONTEXT = """
SELECT version, content FROM contexts
WHERE namespace = :namespace ORDER BY version DESC LIMIT 1
"""

CONTEXT_AT = """
SELECT version, content FROM contexts WHERE namespace = :namespace AND version = :version
"""

EDITS = """
SELECT json_group_array(
    json_array(made.version, made.turn, coalesce(old.content, ''), made.content)
)
FROM json_each(:turns) AS asked
CROSS JOIN contexts AS made
    ON made.namespace = :namespace AND made.turn = asked.value AND made.turn <> ''
LEFT JOIN contexts AS old ON old.namespace = :namespace AND old.version = made.version - 1
"""

COUNTS = "SELECT messages, passages FROM namespaces WHERE namespace = :namespace"


def read_turn(
    connection: sqlite3.Connection, namespace: str, chain: Sequence[str], look: int
) -> TurnState:
    """Find the last known key of ``chain``, and read what a turn needs that follows it.

    The last known one counts, so it is looked for in the last ``look`` keys first.
    """
    opening = clean(chain[0]) if chain else ""
    end = len(chain)
    while True:
        start = max(0, end - look)
        keys = rows.ids_to_json(chain[start:end])
        parameters = {"namespace": namespace, "keys": keys, "opening": opening}
        (position, *answer) = connection.execute(READ_TURN, parameters).fetchone()
        if position is not None or start == 0:
            break
        end, look = start, look * FURTHER_LOOKS
    return _turn_state(0 if position is None else start + position + 1, *answer)


def _turn_state(
    known: int,
    queue: str | None,
    nodes: str,
    context: str | None,
    counts: str | None,
    after: str,
    openings: int,
) -> TurnState:
    return TurnState(
        known=known,
        nodes=_oldest_first(nodes),
        queue=rows.queue_state(rows.from_json(queue)) if queue else None,
        context=WorkingContext(*rows.from_json(context)) if context else NO_CONTEXT,
        counts=Counts(*rows.from_json(counts)) if counts else NO_COUNTS,
        after=_nearest_first(after),
        shared=openings > 1,
    )


def path(
    connection: sqlite3.Connection, namespace: str, node: str, length: int
) -> tuple[Node, ...]:
    """Return a node and those before it, ``length`` at most, oldest first."""
    # A negative LIMIT is none.
    parameters = {"namespace": namespace, "node": clean(node), "length": max(length, 0)}
    (found,) = connection.execute(PATH, parameters).fetchone()
    return _oldest_first(found)


def after(connection: sqlite3.Connection, namespace: str, node: str) -> tuple[Node, ...]:
    """Return what follows a node in any branch, nearest first, ``MOST_AFTER`` at most."""
    parameters = {"namespace": namespace, "node": clean(node)}
    (found,) = connection.execute(AFTER, parameters).fetchone()
    return _nearest_first(found)


def with_content(
    connection: sqlite3.Connection, namespace: str, contents: Sequence[str], limit: int
) -> tuple[Node, ...]:
    """Return the newest nodes of each content, ``limit`` at most of one, newest first."""
    asked = rows.ids_to_json(dict.fromkeys(contents))
    parameters = {"namespace": namespace, "contents": asked, "limit": max(limit, 0)}
    (found,) = connection.execute(WITH_CONTENT, parameters).fetchone()
    numbered = [(rows.node(columns), number) for number, *columns in rows.from_json(found)]
    numbered.sort(key=lambda pair: (pair[0].created, pair[1]), reverse=True)
    return tuple(node for node, _ in numbered)


def conversation(connection: sqlite3.Connection, namespace: str, name: str) -> Conversation | None:
    """Return the conversation of this name."""
    parameters = {"namespace": namespace, "name": clean(name)}
    found = connection.execute(CONVERSATION, parameters).fetchone()
    return Conversation(NodeId(found[0]), NodeId(found[1]), bool(found[2])) if found else None


def _oldest_first(found: str) -> tuple[Node, ...]:
    return tuple(sorted(map(rows.node, rows.from_json(found)), key=lambda node: node.depth))


def _nearest_first(found: str) -> tuple[Node, ...]:
    nodes = map(rows.node, rows.from_json(found))
    return tuple(sorted(nodes, key=lambda node: (node.depth, -node.created, node.id)))


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


def edits(
    connection: sqlite3.Connection, namespace: str, turns: Sequence[str]
) -> tuple[ContextEdit, ...]:
    """Return the edits that were made in these turns, oldest first."""
    parameters = {"namespace": namespace, "turns": rows.ids_to_json(dict.fromkeys(turns))}
    (found,) = connection.execute(EDITS, parameters).fetchone()
    return tuple(
        ContextEdit(version, TurnId(turn), before, text)
        for version, turn, before, text in sorted(rows.from_json(found))
    )


def counts(connection: sqlite3.Connection, namespace: str) -> Counts:
    """Return how many messages and passages the namespace has."""
    found = connection.execute(COUNTS, {"namespace": namespace}).fetchone()
    return Counts(*found) if found else NO_COUNTS
