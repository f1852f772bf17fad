"""The data directory: one gateway process at a time keeps its memory there."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataDirError(Exception):
    """The data directory cannot be used; the message says why, in one line."""


class DataDirInUse(DataDirError):
    """Another process has it."""


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Make the directory if it is missing, and keep other processes out of it.

    Raises:
        DataDirError: It cannot be written to.
        DataDirInUse: Another process has it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (path / "gateway.lock").open("w")
    except FileExistsError as error:
        raise DataDirError(f"data_dir {path}: it is no directory") from error
    except OSError as error:
        raise DataDirError(f"data_dir {path}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirInUse(
                f"data_dir {path} is in use by another gateway: stop that first"
            ) from error
        yield
