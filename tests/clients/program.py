"""A client's program as a child process that is told what to do (``serving/serving.py``)."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DEADLINE = 30.0
START_SECONDS = 120.0
"""Some clients import much."""


@dataclass(slots=True)
class Failure(Exception):
    """What a client told of an error: the status it saw, if any, and its words."""

    status: int | None
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(slots=True)
class Doing:
    """A command that is being carried out."""

    program: Program
    pieces: list[str] = field(default_factory=list)

    def piece(self) -> str:
        """The next piece of the stream, once it is there."""
        line = self.program.next_line()
        assert "piece" in line, line
        self.pieces.append(line["piece"])
        return line["piece"]

    def result(self) -> dict[str, Any]:
        """What came out of it; the pieces until then are in ``pieces``. Raises Failure."""
        while "piece" in (line := self.program.next_line()):
            self.pieces.append(line["piece"])
        if "failure" in line:
            raise Failure(**line["failure"])
        return line["result"]


class Program:
    """The process; a context manager that starts and stops it.

    Args:
        command: what runs it.
        env: its environment.
        log: a file for what it prints beside its answers.
    """

    def __init__(self, command: list[str], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=log.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                encoding="utf-8",
            )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.next_line(START_SECONDS)

    def begin(self, verb: str, **arguments: Any) -> Doing:
        """Tell it to do something; read on with what is returned."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": verb, **arguments}) + "\n")
        self._process.stdin.flush()
        return Doing(self)

    def next_line(self, seconds: float = DEADLINE) -> dict[str, Any]:
        """The next line of its answer."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self._process.kill()  # what it says from now on answers nobody
            raise AssertionError(f"no answer in {seconds} s:\n{self.log()}") from None
        assert line, f"the program has ended:\n{self.log()}"
        return json.loads(line)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(DEADLINE)
        assert self._process.stdout is not None
        self._process.stdout.close()
