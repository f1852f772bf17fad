"""A measured process: started on given cores, its CPU time and memory read from /proc, ended."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_DEADLINE = 120.0  # seconds; LiteLLM imports for twenty on a slow machine
STOP_DEADLINE = 20.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ProcessError(Exception):
    """A process did not start, or ended while it was needed."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the measured process has, and which the load and the mock backend share."""

    measured: int
    others: tuple[int, ...]

    @classmethod
    def split(cls) -> "Cores":
        """Give the last core to the measured process; on a machine of one core all share it."""
        available = sorted(os.sched_getaffinity(0))
        return cls(available[-1], tuple(available[:-1]) or (available[-1],))


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: arguments, additions to the environment, and where its output goes."""

    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def pinned(arguments: Sequence[str], cores: Sequence[int]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, cores)), *arguments]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Running:
    """A started process and whatever it starts itself."""

    process: subprocess.Popen[bytes]
    log: Path

    def cpu_seconds(self) -> float:
        """User and system time so far, of the whole tree, ended children included."""
        return sum(map(_cpu_seconds, _tree(self.process.pid)))

    def scheduled_seconds(self) -> float:
        """Time on a core so far, to the nanosecond, of the process alone: a turn is but a tick."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def resident_mb(self) -> float:
        """Resident memory of the whole tree, in 10^6 bytes."""
        return sum(map(_resident_bytes, _tree(self.process.pid))) / 1e6

    def wait_until_ready(self, url: str) -> None:
        """Return once `url` answers 200; raise ProcessError with the log's end if it never does."""
        deadline = time.monotonic() + START_DEADLINE
        while not _answers(url):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ProcessError(f"not ready, see {self.log}:\n{self._log_end()}")
            time.sleep(0.05)

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


@contextmanager
def running(command: Command, cores: Sequence[int]) -> Iterator[Running]:
    """Start a process for the time of the block; it and its children are gone afterwards."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MEMGPT_")
    }
    with command.log.open("wb") as log:
        process = subprocess.Popen(
            pinned(command.arguments, cores),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment | dict(command.environment),
        )
    try:
        yield Running(process, command.log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    tree = _tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree[1:]:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, 9)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _tree(pid: int) -> list[int]:
    """The process and its descendants, the process first."""
    listed = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    children = [int(child) for line in listed for child in line]
    return [pid] + [descendant for child in children for descendant in _tree(child)]


def _cpu_seconds(pid: int) -> float:
    # Fields 14 to 17 of proc(5): user and system time, then those of ended children. Counted
    # from behind the command's name, which may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
