"""Vectors in the embedded store: beside the texts in its file, searched exactly with numpy.

No extension of SQLite is needed, which many Pythons cannot load. A search reads all vectors
of one namespace, block by block, in a thread of its own, so that turns never wait for it.
"""

# ruff: noqa: S608 - statements are put together from names in the code, never from values

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import orjson
from numpy.typing import NDArray

from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Namespace, Owner
from memgpt_proxy.stores.sqlite import rows
from memgpt_proxy.stores.sqlite.connection import connect_reader, create_vectors
from memgpt_proxy.stores.sqlite.store import SqliteStore
from memgpt_proxy.stores.sqlite.threads import Threads
from memgpt_proxy.stores.sqlite.writes import Vectors, Write
from memgpt_proxy.stores.storable import clean, owner_of
from memgpt_proxy.stores.vectors import (
    Embedded,
    Kind,
    Lacking,
    Name,
    Near,
    Place,
    Space,
    Text,
    Vector,
)

BLOCK_BYTES = 2**20
"""Vectors that are read at once: what a search takes of memory, whatever it looks through."""

LOOKED_THROUGH = 5000
"""Texts that are looked through for one without a vector at once: some milliseconds."""

_BEHIND = np.float32(4.0)
"""What an abandoned message's similarity is lowered by, so that it comes after all others."""


@dataclass(frozen=True, slots=True)
class Table:
    """Where texts of one kind are: ``special`` ones are few, and not ranked with the others."""

    kind: Kind
    name: str
    special: str
    hit: str


MESSAGES = Table(Kind.MESSAGE, "nodes", "abandoned", rows.MESSAGE_HIT_COLUMNS)
PASSAGES = Table(Kind.PASSAGE, "passages", "hidden", rows.HIT_COLUMNS)
TABLES = {table.kind: table for table in (MESSAGES, PASSAGES)}

SPACE = "SELECT number FROM spaces WHERE model = :model AND dimensions = :dimensions"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the nearest are asked for by."""

    owner: Owner
    space: Space
    vector: Vector
    limit: int


class SqliteVectors:
    """The vectors of an embedded store, which is opened before and closed after it."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._readers: Threads[Callable[[sqlite3.Connection], object], object] = Threads(
            "sqlite-vectors",
            count=1,
            most=1,
            connect=partial(_connect, store.file),
            carry_out=_carry_out,
        )

    async def open(self) -> None:
        """Create what is missing and start the thread. Raises StoreError."""
        await self._readers.start()

    async def close(self) -> None:
        """Carry out every search accepted so far, then end the thread."""
        await self._readers.stop()

    async def put_vectors(self, space: Space, vectors: Sequence[Embedded]) -> None:
        """Store vectors of texts that are there; each text has one at the most."""
        for table in TABLES.values():
            of_kind = [each for each in vectors if each.name.kind is table.kind]
            if of_kind:
                await self._store.write(Write(vectors=_rows(table, space, of_kind)))

    async def nearest(
        self, namespace: Namespace, kind: Kind, space: Space, vector: Vector, *, limit: int
    ) -> tuple[Near, ...]:
        """Return what is most similar, best first; abandoned messages after all others."""
        wanted = Wanted(owner_of(namespace), space, vector, limit)
        found = await self._readers.submit(lambda reader: nearest(reader, TABLES[kind], wanted))
        return cast("tuple[Near, ...]", found)

    async def lacking(self, space: Space, after: Place, *, limit: int) -> Lacking:
        """Look through the texts behind ``after``, messages first."""
        found = await self._readers.submit(lambda reader: lacking(reader, space, after, limit))
        return cast("Lacking", found)

    async def remove_others(self, space: Space) -> None:
        """Do nothing: a text's new vector has taken the place of its old one."""


def nearest(connection: sqlite3.Connection, table: Table, wanted: Wanted) -> tuple[Near, ...]:
    """Return the most similar texts of a namespace; see ``VectorStore.nearest``."""
    special = _special(connection, table, wanted.owner)
    best = np.empty(0, np.int64), np.empty(0, np.float32)
    for numbers, vectors in _blocks(connection, table, wanted):
        similar = vectors @ wanted.vector
        is_special = np.isin(numbers, special)
        if table is PASSAGES:
            numbers, similar = numbers[~is_special], similar[~is_special]
        else:
            similar[is_special] -= _BEHIND
        best = _best(np.append(best[0], numbers), np.append(best[1], similar), wanted.limit)
    return _hits(connection, table, wanted.owner, *best)


def lacking(connection: sqlite3.Connection, space: Space, after: Place, limit: int) -> Lacking:
    """Return texts without a vector in ``space``; see ``VectorStore.lacking``.

    A place is the numbers of the last message and the last passage before it.
    """
    places = [int(number) for number in after.split(":")] if after else [0, 0]
    texts: list[Text] = []
    more = False
    for position, table in enumerate(TABLES.values()):
        found, places[position], behind = _lacking_of(
            connection, table, space, places[position], limit - len(texts)
        )
        texts += found
        more = more or behind
    return Lacking(texts, Place(":".join(map(str, places))), more)


def _lacking_of(
    connection: sqlite3.Connection, table: Table, space: Space, after: int, limit: int
) -> tuple[list[Text], int, bool]:
    statement = f"""
        WITH found AS MATERIALIZED (
            SELECT number FROM {table.name} LEFT JOIN {table.name}_vectors AS embedded
            USING (number)
            WHERE number > :after AND number <= :after + {LOOKED_THROUGH} AND text <> ''
                AND (embedded.space IS NULL OR embedded.space IS NOT ({SPACE}))
            ORDER BY number LIMIT :limit
        )
        SELECT
            (SELECT max(number) FROM {table.name}),
            (
                SELECT json_group_array(json_array(number, namespace, id, text))
                FROM found CROSS JOIN {table.name} USING (number)
            )
    """
    parameters = {**_named(space), "after": after, "limit": limit}
    last, listed = connection.execute(statement, parameters).fetchone()
    found = rows.from_json(listed)
    texts = [Text(Name(Owner(owner), table.kind, name), text) for _, owner, name, text in found]
    end = min(after + LOOKED_THROUGH, last or 0) if limit > 0 else after
    place = found[0][0] - 1 if found else max(after, end)
    return texts, place, bool(found) or end < (last or 0)


def _blocks(
    connection: sqlite3.Connection, table: Table, wanted: Wanted
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield numbers and vectors of a namespace, ``BLOCK_BYTES`` at a time.

    A block is one row: group_concat() puts blobs together byte by byte, where each row by
    itself would cost giving the interpreter lock back (see ``rows``).
    """
    size = wanted.space.dimensions * 4
    statement = f"""
        SELECT json_group_array(number), CAST(group_concat(vector, '') AS BLOB) FROM (
            SELECT number, vector FROM {table.name}_vectors
            WHERE namespace = :namespace AND space = ({SPACE}) AND vector IS NOT NULL
                AND number > :after
            ORDER BY number LIMIT :most
        )
    """
    parameters = {
        **_named(wanted.space),
        "namespace": wanted.owner,
        "after": 0,
        "most": max(1, BLOCK_BYTES // size),
    }
    while True:
        listed, block = connection.execute(statement, parameters).fetchone()
        numbers = np.array(orjson.loads(listed), np.int64)
        if not len(numbers):
            return
        if len(block) != len(numbers) * size:
            raise StoreError("this Python's SQLite cannot put vectors together")
        yield numbers, np.frombuffer(block, "<f4").reshape(len(numbers), -1)
        parameters["after"] = int(numbers[-1])


def _special(connection: sqlite3.Connection, table: Table, owner: Owner) -> NDArray[np.int64]:
    statement = f"""
        SELECT json_group_array(number) FROM {table.name}
        WHERE namespace = :namespace AND {table.special}
    """
    (listed,) = connection.execute(statement, {"namespace": owner}).fetchone()
    return np.array(orjson.loads(listed), np.int64)


def _best(
    numbers: NDArray[np.int64], similar: NDArray[np.float32], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the ``limit`` most similar, best first; of equals the newest."""
    order = np.lexsort((-numbers, -similar))[:limit]
    return numbers[order], similar[order]


def _hits(
    connection: sqlite3.Connection,
    table: Table,
    owner: Owner,
    numbers: NDArray[np.int64],
    similar: NDArray[np.float32],
) -> tuple[Near, ...]:
    statement = f"""
        SELECT json_group_array(json_array(number, {table.hit}))
        FROM (SELECT value AS number FROM json_each(:numbers))
        CROSS JOIN {table.name} USING (number)
        WHERE namespace = :namespace
    """
    parameters = {"numbers": orjson.dumps(numbers.tolist()).decode(), "namespace": owner}
    (listed,) = connection.execute(statement, parameters).fetchone()
    hits = {number: rows.hit(columns) for number, *columns in rows.from_json(listed)}
    return tuple(
        Near(hits[number], similarity + float(_BEHIND) * hits[number].abandoned)
        for number, similarity in zip(numbers.tolist(), similar.tolist(), strict=True)
        if number in hits
    )


def _rows(table: Table, space: Space, vectors: Sequence[Embedded]) -> Vectors:
    size = space.dimensions * 4
    named = [(each.name.owner, clean(each.name.id), each.vector is not None) for each in vectors]
    parts = [
        bytes(size) if each.vector is None else each.vector.astype("<f4").tobytes()
        for each in vectors
    ]
    return Vectors(
        table=table.name,
        model=space.model,
        dimensions=space.dimensions,
        named=orjson.dumps(named).decode(),
        vectors=b"".join(parts),
        size=size,
    )


def _named(space: Space) -> dict[str, str | int]:
    return {"model": space.model, "dimensions": space.dimensions}


def _connect(path: Path) -> sqlite3.Connection:
    create_vectors(path)
    return connect_reader(path)


def _carry_out(
    connection: sqlite3.Connection, reads: Sequence[Callable[[sqlite3.Connection], object]]
) -> list[object]:
    return [read(connection) for read in reads]
