"""The journal of one process: a small SQLite file in its data directory.

A write that it has taken is on the disk, and survives a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from memgpt_proxy.stores.codec import encode
from memgpt_proxy.stores.journal import Entry, JournalFull, Waiting
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Namespace, Owner
from memgpt_proxy.stores.sqlite.connection import connect_file
from memgpt_proxy.stores.sqlite.erasing import empty_log
from memgpt_proxy.stores.sqlite.threads import Threads
from memgpt_proxy.stores.storable import owner_of

MOST_JOBS = 256
"""Calls that share a transaction, and with it the wait for the disk, at most."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace BLOB NOT NULL,
    change BLOB NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS put_aside (
    number INTEGER PRIMARY KEY,
    namespace BLOB NOT NULL,
    change BLOB NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS total (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

INSERT OR IGNORE INTO total VALUES (1, 0, 0);

CREATE TRIGGER IF NOT EXISTS entry_added AFTER INSERT ON entries BEGIN
    UPDATE total SET entries = entries + 1, bytes = bytes + length(new.change);
END;

CREATE TRIGGER IF NOT EXISTS entry_gone AFTER DELETE ON entries BEGIN
    UPDATE total SET entries = entries - 1, bytes = bytes - length(old.change);
END;
"""

APPEND = "INSERT INTO entries (namespace, change) VALUES (?, ?)"

BYTES = "SELECT bytes FROM total"

WAITING = "SELECT entries FROM total"

OLDEST = "SELECT number, namespace, change FROM entries WHERE number > ? ORDER BY number LIMIT ?"

NAMESPACES = "SELECT namespace FROM entries UNION SELECT namespace FROM put_aside"

FORGET = ("DELETE FROM entries WHERE namespace = ?", "DELETE FROM put_aside WHERE namespace = ?")

DONE = "DELETE FROM entries WHERE number = ?"

PUT_ASIDE = "INSERT OR IGNORE INTO put_aside SELECT * FROM entries WHERE number = ?"

ASIDE = "SELECT number, namespace, change FROM put_aside"

FORGET_ASIDE = "DELETE FROM put_aside WHERE number = ?"

Job = Callable[[sqlite3.Connection], object]
Result = TypeVar("Result")


class DiskJournal:
    """A journal in one file, of one process.

    Args:
        path: The file; it is created, and its directory, when missing.
        max_bytes: Bound on what waits; what was put aside does not count.
    """

    name = "disk"

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.file: Path | None = path
        self._max_bytes = max_bytes
        self._thread: Threads[Job, object] = Threads(
            "disk-journal",
            count=1,
            most=MOST_JOBS,
            connect=partial(_connect, path),
            carry_out=_carry_out,
        )

    async def open(self) -> None:
        """Create what is missing. Raises StoreUnavailable when the file cannot be used."""
        await self._thread.start()

    async def close(self) -> None:
        """Carry out what was asked, then close the file."""
        await self._thread.stop()

    async def append(self, namespace: Namespace, change: Waiting) -> None:
        """Keep a write behind all others; on the disk when it returns. Raises JournalFull."""
        await self.take_over([Entry("", namespace, encode(change))])

    async def take_over(self, entries: Sequence[Entry]) -> None:
        """Keep entries behind all others, all or none; on the disk when it returns."""
        more = sum(entry.size for entry in entries)
        rows = [(_named(entry.namespace), entry.data) for entry in entries]

        def take_over(connection: sqlite3.Connection) -> JournalFull | None:
            (held,) = connection.execute(BYTES).fetchone()
            if held + more > self._max_bytes:
                return JournalFull(f"the disk journal may hold {self._max_bytes} bytes, and does")
            connection.executemany(APPEND, rows)
            return None

        await self._run(take_over)

    async def keeps(self) -> bool:
        """It is on the disk."""
        return True

    async def waiting(self) -> int:
        """Return how many entries wait."""

        def waiting(connection: sqlite3.Connection) -> int:
            (entries,) = connection.execute(WAITING).fetchone()
            return int(entries)

        return await self._run(waiting)

    async def lead(self) -> bool:
        """Nobody else has this file: data directories are claimed."""
        return True

    async def resign(self) -> None:
        """Nobody else could drain it."""

    async def oldest(self, limit: int, behind: Entry | None = None) -> Sequence[Entry]:
        """Return the entries that have waited longest, oldest first."""
        after = int(behind.id) if behind else 0

        def oldest(connection: sqlite3.Connection) -> list[Entry]:
            return _entries(connection.execute(OLDEST, [after, limit]))

        return await self._run(oldest)

    async def done(self, entries: Sequence[Entry]) -> None:
        """Delete entries."""

        def done(connection: sqlite3.Connection) -> None:
            connection.executemany(DONE, [[int(entry.id)] for entry in entries])

        await self._run(done)

    async def forget(self, owner: Owner) -> None:
        """Delete an owner's entries, and empty the log that has them too."""

        def forget(connection: sqlite3.Connection) -> None:
            for (name,) in connection.execute(NAMESPACES).fetchall():
                if owner_of(_namespace(name)) == owner:
                    for statement in FORGET:
                        connection.execute(statement, [name])

        await self._run(forget)
        await self._run(_empty_log)

    async def put_aside(self, entry: Entry) -> None:
        """Move an entry to those that nobody will ask for."""

        def put_aside(connection: sqlite3.Connection) -> None:
            connection.execute(PUT_ASIDE, [int(entry.id)])
            connection.execute(DONE, [int(entry.id)])

        await self._run(put_aside)

    async def aside(self) -> Sequence[Entry]:
        """Return what is put aside."""

        def aside(connection: sqlite3.Connection) -> list[Entry]:
            return _entries(connection.execute(ASIDE))

        return await self._run(aside)

    async def forget_aside(self, entries: Sequence[Entry]) -> None:
        """Delete these of what is put aside, and empty the log that has them too."""

        def forget(connection: sqlite3.Connection) -> None:
            connection.executemany(FORGET_ASIDE, [[int(entry.id)] for entry in entries])

        await self._run(forget)
        await self._run(_empty_log)

    async def _run(self, job: Callable[[sqlite3.Connection], Result | StoreError]) -> Result:
        return cast("Result", await self._thread.submit(job))


def _connect(path: Path) -> sqlite3.Connection:
    connection = connect_file(path, "full")
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _carry_out(connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[object]:
    """Run all of the jobs in one transaction; they are done when it has ended."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        done = [job(connection) for job in jobs]
    if _empty_log in jobs:
        empty_log(connection)  # nobody else reads it
    return done


def _empty_log(_: sqlite3.Connection) -> None:
    """Have the log emptied behind the transaction that this is part of."""


def _entries(rows: Iterable[tuple[int, bytes, bytes]]) -> list[Entry]:
    return [Entry(str(number), _namespace(name), data) for number, name, data in rows]


def _named(namespace: Namespace) -> bytes:
    return namespace.encode("utf-8", "surrogatepass")


def _namespace(name: bytes) -> Namespace:
    return Namespace(name.decode("utf-8", "surrogatepass"))
