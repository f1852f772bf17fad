"""Real servers as child processes: started on a free loopback port, waited for, stopped by pid."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 30.0
STOP_SECONDS = 15.0

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
"""In small letters; they are read in capitals too."""

PORTS = range(12_000, 32_000)
"""Below those that the system gives out: nobody takes one while its server is restarted."""


def free_port() -> int:
    """Return a loopback port that nothing listened on a moment ago, another one each time."""
    return next(port for port in _own_ports() if _is_free(port))


@cache
def _own_ports() -> Iterator[int]:
    """This process's share of the ports, round and round: workers of one run share none."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = PORTS[worker::workers]
    begin = random.randrange(len(mine))
    return itertools.cycle([*mine[begin:], *mine[:begin]])


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when something holds of another process."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


class ServerProcess:
    """A server at ``http://127.0.0.1:port``, ready when ``ready_path`` answers 200.

    A second ``start`` after ``kill`` or ``stop`` runs the same command on the same port.
    """

    start_seconds = START_SECONDS
    """How long it may take until it is ready."""
    stop_seconds = STOP_SECONDS
    """How long it may take to end."""

    def __init__(
        self, command: Sequence[str], port: int, ready_path: str, log: Path, env: Mapping[str, str]
    ) -> None:
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.origin}/v1"
        self._command = list(command)
        self._ready_path = ready_path
        self._log = log
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Self:
        """Start the process and wait until it is ready; its output tells why when it is not."""
        self.launch()
        deadline = time.monotonic() + self.start_seconds
        while not self.is_ready():
            if self._exited_within(0.02) or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self._command[0]} did not become ready:\n{self.log()}")
        return self

    def launch(self) -> None:
        """Start the process, and do not wait for it."""
        assert self._process is None, "already started"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._log.parent,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self._ready_path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """End the process as a power cut would: SIGKILL, nothing flushed."""
        self._end(signal.SIGKILL)

    def stop(self) -> int | None:
        """Ask the process to end, wait for it, and return its exit status; None if it had ended."""
        return self._end(signal.SIGTERM)

    def wait_for_end(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until the process ends, which it was told to; return its exit status."""
        process, self._process = self._process, None
        assert process is not None, "not started"
        return process.wait(seconds)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def log(self) -> str:
        """Everything that was printed so far, by all runs."""
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, seconds: float = 10.0) -> None:
        """Wait until the process has written ``text``."""
        deadline = time.monotonic() + seconds
        while text not in self.log():
            assert not self._exited_within(0.02), f"it ended without a word of {text!r}"
            assert time.monotonic() < deadline, f"it never wrote {text!r}"

    def _exited_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end(self, signum: signal.Signals) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(signum)
        try:
            return process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(
                f"{self._command[0]} ignored {signum.name}:\n{self.log()}"
            ) from None


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without the settings a developer may have exported.

    Nor has it proxies: all that is asked by what tests start is on this machine.
    """
    ours = ("MEMGPT_", "OPENAI_", "LLAMA_ARG_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and name.lower() not in PROXY_VARIABLES
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}
