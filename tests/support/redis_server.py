"""A real Redis server on this machine, with an append-only file; killed and started at will."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

DEADLINE = 15.0


def redis_binary() -> str | None:
    """The server's program, if this machine has one."""
    return shutil.which("redis-server")


class RedisServer:
    """One server; what it was told survives ``kill`` and ``start``.

    Attributes:
        port: Where it listens, on this machine alone.
        url: The same as a URL.
    """

    def __init__(self, directory: Path, port: int, *, append_only: bool = True) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self._directory = directory
        self._append_only = append_only
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        program = redis_binary()
        assert program is not None
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "everysec",
        }
        command = [
            program,
            *(word for name, value in options.items() for word in ("--" + name, value)),
        ]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            assert time.monotonic() < deadline, "the Redis server does not answer"
            assert self._process.poll() is None, "the Redis server has ended"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it with SIGTERM, if it runs."""
        self._end(signal.SIGTERM)

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(DEADLINE)
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
