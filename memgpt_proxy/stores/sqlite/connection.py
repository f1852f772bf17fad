"""Opening the database file, and what SQLite's errors mean to a caller."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from importlib import resources
from pathlib import Path
from typing import Literal

from memgpt_proxy.stores.protocols import StoreError, StoreFull, StoreUnavailable

SCHEMA_VERSION = 4
"""The ``user_version`` of a database that this code reads and writes."""

OLDEST_VERSION = 3
"""The oldest that it brings to its own: what the schema adds to it is new tables alone."""

OLDEST_SQLITE = (3, 38, 0)
"""The first release with JSON functions always there, and the ``->>`` operator."""

BUSY_SECONDS = 5.0
"""How long to wait for another process that writes to the same file."""

CHECKPOINT_PAGES = 4000
"""Pages of the log at which a commit copies them into the database, and waits for the disk:
SQLite's own 1000 made that one commit in a hundred."""

CACHED_STATEMENTS = 256

Synchronous = Literal["normal", "full"]

_UNAVAILABLE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}


def store_error(error: sqlite3.Error | OSError | StoreError) -> StoreError:
    """Return the error that callers see: unavailable if the file, disk or lock is at fault."""
    if isinstance(error, StoreError):
        return error
    if not isinstance(error, OSError) and primary_code(error) == sqlite3.SQLITE_FULL:
        return StoreFull(f"the database takes no write: {error}")
    if isinstance(error, OSError) or primary_code(error) in _UNAVAILABLE:
        return StoreUnavailable(f"the database is unavailable: {error}")
    return StoreError(f"the database refused a statement: {error}")


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for an error of the Python module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def connect_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Create the file (0600, in a directory of 0700) and its schema where missing.

    Raises StoreError for a database of another version, or a SQLite that lacks features.
    """
    connection = connect_file(path, synchronous)
    try:
        require_features(connection, {"fts5", "json_each"})
        _create_schema(connection)
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


def connect_file(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Connect to write to a file with a log; it is created as above where it is missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = _connect(path, "rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        # What is deleted is gone from the file, not only out of sight.
        connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Connect to an existing database so that nothing can be written to it."""
    connection = _connect(path, "ro")
    connection.execute("PRAGMA query_only = ON")
    return connection


def create_vectors(path: Path) -> None:
    """Create in an existing database what search by meaning needs, where it is missing."""
    with closing(_connect(path, "rw")) as connection:
        connection.executescript(_script("vectors.sql"))


def read_mark(path: Path) -> str | None:
    """Return the mark of the secret under which an existing database was begun, if it has one.

    Raises sqlite3.Error.
    """
    with closing(connect_reader(path)) as connection:
        return _mark(connection)


def leave_mark(path: Path, own: str) -> str:
    """Return the mark in an existing database; one's own is left where there is none.

    Raises StoreError.
    """
    try:
        with closing(_connect(path, "rw")) as connection:
            if (there := _mark(connection)) is not None:
                return there
            connection.executescript(_script("secret_mark.sql"))
            connection.execute("INSERT OR IGNORE INTO secret_mark VALUES (0, ?)", (own,))
            return _mark(connection) or own
    except sqlite3.Error as error:
        raise store_error(error) from error


def _mark(connection: sqlite3.Connection) -> str | None:
    there = "SELECT 1 FROM sqlite_schema WHERE name = 'secret_mark'"
    if connection.execute(there).fetchone() is None:
        return None
    row = connection.execute("SELECT mark FROM secret_mark").fetchone()
    return None if row is None else str(row[0])


def require_features(connection: sqlite3.Connection, modules: Iterable[str]) -> None:
    """Raise StoreError unless SQLite is recent enough and has every one of ``modules``."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: {oldest} is needed")
    if missing := sorted(name for name in modules if not _has_module(connection, name)):
        raise StoreError(f"this Python's SQLite was built without {', '.join(missing)}")


def _has_module(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether a module is there; since 3.53 some are made ready, and listed, when used."""
    with suppress(sqlite3.OperationalError):
        connection.execute(f"SELECT * FROM {name} LIMIT 0")  # noqa: S608 - a name of our own
    listed = "SELECT 1 FROM pragma_module_list WHERE name = ?"
    return connection.execute(listed, (name,)).fetchone() is not None


def _connect(path: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.create_function("spaced", 1, _spaced, deterministic=True)
    return connection


def _spaced(text: str) -> str:
    """Return a text with one space for each run of white space, as phrases are looked for."""
    return " ".join(text.split())


def _create_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the database has schema version {version}, and this release knows"
            f" {SCHEMA_VERSION}: it was written by a newer release"
        )
    if 0 < version < OLDEST_VERSION:
        raise StoreError(
            f"the database has schema version {version}, which no release had: it was written"
            " by a development version, and cannot be read any more"
        )
    if version < SCHEMA_VERSION:
        connection.executescript(_script("schema.sql"))


def _script(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
