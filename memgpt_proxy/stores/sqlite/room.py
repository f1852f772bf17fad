"""Room on the disk: what a store remembers of a write that found none."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from memgpt_proxy.stores.protocols import StoreFull
from memgpt_proxy.stores.sqlite.writes import Done, Write, carry_out

_MORE = 2**20
"""Bytes that have to be free beyond those that were too few: less is not room, but chance."""


class Room:
    """Carries out writes, and remembers whether one was too large for what was free.

    A disk takes small writes long after it has no room for a large one.

    Args:
        directory: Where the database is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._too_little: int | None = None  # bytes that were free when a write found no room

    def carry_out(self, connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Done]:
        """Commit writes together, and return what became of each."""
        done = carry_out(connection, writes)
        if any(isinstance(each, StoreFull) for each in done):
            self._too_little = self._free()
        return done

    def is_lacking(self) -> bool:
        """Return whether a write found no room, and no more is free since then. Blocks."""
        if self._too_little is not None and self._free() >= self._too_little + _MORE:
            self._too_little = None
        return self._too_little is not None

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free
