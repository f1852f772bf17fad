"""Reading everything that an owner has, kind by kind, in an order that does not change."""

# ruff: noqa: S608 - statements are put together from names in the code, never from values

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from memgpt_proxy.stores.portable import ContextVersion, Mark, Portable, StoredPassage
from memgpt_proxy.stores.records import Conversation, NodeId, Owner, Passage, TurnId
from memgpt_proxy.stores.sqlite import rows

MOST_OWNERS = 500
"""Owners that are looked up at once."""

MOST_POSITIONS = 20_000
"""Positions that are looked up at once: each look-up of nodes goes over all that an owner has."""

MOST_RECORDS = 256
"""Records of one portion."""

MOST_CHARACTERS = 4 << 20
"""Characters of text behind which a portion takes no further record."""

Position = int | str
"""Where a record stands among those of its kind and owner."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: its table, the column it is ordered by, and how a row becomes one."""

    table: str
    order: str
    columns: str
    record: Callable[[Sequence[Any]], Portable]


def _passage(row: Sequence[Any]) -> StoredPassage:
    *columns, hidden = row
    return StoredPassage(Passage(*columns), bool(hidden))


def _context_version(row: Sequence[Any]) -> ContextVersion:
    version, content, node, turn = row
    return ContextVersion(version, content, NodeId(node), TurnId(turn))


def _conversation(row: Sequence[Any]) -> Conversation:
    name, tip, resends = row
    return Conversation(NodeId(name), NodeId(tip), bool(resends))


KINDS = (
    # Before the nodes: whichever queue a node names, it says so itself.
    Kind("queues", "node", rows.QUEUE_COLUMNS, rows.queue_state),
    # As they were stored: of two that are equally new, the one stored last is the newest.
    Kind("nodes", "number", rows.NODE_COLUMNS, rows.node),
    Kind("passages", "number", "id, text, created, node, turn, hidden", _passage),
    Kind("conversations", "name", "name, tip, resends", _conversation),
    # Behind the nodes: a version that one of them has seen is among these.
    Kind("contexts", "version", "version, content, node, turn", _context_version),
)
"""In the order of the export."""

_NEXT_OWNER = " UNION ALL ".join(
    f"SELECT min(namespace) AS namespace FROM {kind.table} WHERE namespace > {{0}}"
    for kind in KINDS
)

OWNERS = f"""
WITH RECURSIVE owners (namespace) AS (
    SELECT min(namespace) FROM ({_NEXT_OWNER.format(":after")})
    UNION ALL
    SELECT (SELECT min(namespace) FROM ({_NEXT_OWNER.format("owners.namespace")}))
    FROM owners WHERE owners.namespace IS NOT NULL
    LIMIT {MOST_OWNERS}
)
SELECT namespace FROM owners WHERE namespace IS NOT NULL
"""

_SIZES = " + ".join(f"(SELECT count(*) FROM {kind.table} {{0}})" for kind in KINDS)

SIZE = f"SELECT {_SIZES.format('WHERE namespace = :namespace')}"

SIZE_OF_ALL = f"SELECT {_SIZES.format('')}"


def owners(connection: sqlite3.Connection, after: str) -> list[Owner]:
    """Return the owners behind ``after``, in order, ``MOST_OWNERS`` at most."""
    return [Owner(name) for (name,) in connection.execute(OWNERS, {"after": after})]


def size(connection: sqlite3.Connection, owner: str | None) -> int:
    """Return how many records an owner has, or all owners."""
    if owner is None:
        (records,) = connection.execute(SIZE_OF_ALL).fetchone()
    else:
        (records,) = connection.execute(SIZE, {"namespace": owner}).fetchone()
    return int(records)


def positions(
    connection: sqlite3.Connection, kind: Kind, owner: str, after: Position | None
) -> list[Position]:
    """Return where an owner's records of a kind stand behind ``after``, in order."""
    behind = "" if after is None else f"AND {kind.order} > :after"
    statement = f"""
        SELECT {kind.order} FROM {kind.table} WHERE namespace = :namespace {behind}
        ORDER BY {kind.order} LIMIT {MOST_POSITIONS}
    """
    parameters = {"namespace": owner, "after": after}
    return [position for (position,) in connection.execute(statement, parameters)]


def records(
    connection: sqlite3.Connection, kind: Kind, owner: str, asked: Sequence[Position]
) -> dict[Position, Portable]:
    """Return the records at these positions, in order: as many as make one portion."""
    statement = f"""
        WITH asked (place, position) AS (SELECT key, value FROM json_each(:asked))
        SELECT {kind.order}, {kind.columns} FROM asked
        CROSS JOIN {kind.table} ON namespace = :namespace AND {kind.order} = position
        ORDER BY place
    """
    found: dict[Position, Portable] = {}
    characters = 0
    parameters = {"namespace": owner, "asked": orjson.dumps(asked).decode()}
    for position, *row in connection.execute(statement, parameters):
        found[position] = kind.record(row)
        characters += sum(len(value) for value in row if isinstance(value, str))
        if characters > MOST_CHARACTERS:
            break
    return found


def mark_of(kind: Kind, position: Position) -> Mark:
    """Return the mark behind a record."""
    return Mark(orjson.dumps([kind.table, position]).decode())


def stand_of(mark: Mark) -> tuple[Sequence[Kind], Position | None]:
    """Return the kinds that are not through at a mark, and where the first of them stands."""
    if not mark:
        return KINDS, None
    table, position = orjson.loads(mark)
    (at,) = (number for number, kind in enumerate(KINDS) if kind.table == table)
    return KINDS[at:], position
