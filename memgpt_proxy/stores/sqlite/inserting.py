"""Inserting rows, many with one statement.

Each statement, and each row that it returns, gives back the interpreter lock and has to win it
again from a busy event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from memgpt_proxy.stores.sqlite.rows import Row

MOST_ROWS = 64
"""Rows to one statement at most; each number of rows is a statement of its own to cache."""


@dataclass(frozen=True, slots=True)
class Insert:
    """A statement that inserts any number of rows."""

    into: str
    columns: int
    conflict: str = ""

    def statement(self, count: int) -> str:
        """Return the statement for ``count`` rows."""
        row = f"({', '.join('?' * self.columns)})"
        return f"{self.into} VALUES {', '.join([row] * count)} {self.conflict}"


def insert(connection: sqlite3.Connection, into: Insert, rows: Sequence[Row]) -> None:
    """Insert rows, in their order."""
    for start in range(0, len(rows), MOST_ROWS):
        chunk = rows[start : start + MOST_ROWS]
        values = [value for row in chunk for value in row]
        connection.execute(into.statement(len(chunk)), values)
