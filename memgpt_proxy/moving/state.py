"""How far a move has come, in a small file of lines that only grows.

The first line names the move; each further one says how far an owner's records are copied. A
last line that was cut off by the end of the process is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from memgpt_proxy.stores.portable import START, Mark
from memgpt_proxy.stores.records import Owner


class StateError(Exception):
    """The state file cannot be used; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How far an owner is copied: the mark, the number of records, and whether that is all."""

    mark: Mark = START
    records: int = 0
    done: bool = False


class State:
    """How far each owner is copied.

    Args:
        file: Open to append to.
        stands: What it holds already.
    """

    def __init__(self, file: IO[bytes], stands: dict[Owner, Stand]) -> None:
        self._file = file
        self._stands = stands

    def of(self, owner: Owner) -> Stand:
        """Return how far an owner is copied."""
        return self._stands.get(owner, Stand())

    @property
    def records(self) -> int:
        """Number of records copied so far."""
        return sum(stand.records for stand in self._stands.values())

    def reached(self, owner: Owner, stand: Stand) -> None:
        """Note how far an owner is copied; this outlives the process."""
        self._stands[owner] = stand
        self._file.write(_line([owner, stand.mark, stand.records, stand.done]))
        self._file.flush()


@contextmanager
def kept_state(path: Path, source: str, destination: str) -> Iterator[State]:
    """Open the state file of a move, made where it is missing.

    Raises StateError when it cannot be used, or is of another move.
    """
    head = _line({"from": source, "to": destination})
    try:
        with open(path, "a+b", opener=_private) as file:
            yield State(file, _read(file, head, path))
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error


def _read(file: IO[bytes], head: bytes, path: Path) -> dict[Owner, Stand]:
    """Return what a file holds, and make it end with a whole line."""
    file.seek(0)
    lines = file.readlines()
    cut_off = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
    if lines[:1] != [head] and (lines or not head.startswith(cut_off)):
        raise StateError(
            f"{path} is the state of another move; name another file with --state, or remove it"
            " to begin anew"
        )
    stands = dict(_stand(line, path) for line in lines[1:])
    file.truncate(file.tell() - len(cut_off))
    if not lines:
        file.write(head)
    return stands


def _stand(line: bytes, path: Path) -> tuple[Owner, Stand]:
    with suppress(orjson.JSONDecodeError):
        match orjson.loads(line):
            case [str(owner), str(mark), int(records), bool(done)]:
                return Owner(owner), Stand(Mark(mark), records, done)
            case _:
                pass
    raise StateError(f"{path} is no state of a move; name another file with --state")


def _line(value: object) -> bytes:
    return orjson.dumps(value) + b"\n"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
