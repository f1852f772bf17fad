"""Real Redis servers as child processes: one, with sentinels over it, or a cluster."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.support.process import ServerProcess, clean_environment, free_port

BINARY = shutil.which("redis-server")


class RedisServer(ServerProcess):
    """A server at ``redis://127.0.0.1:port``, which writes what it is told to an append-only file.

    Args:
        directory: Where it works; made when missing.
        options: More of its configuration, as on its command line.
    """

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        port = port or free_port()
        plain = ["--port", str(port)] if "--tls-port" not in options else []
        command = [
            BINARY or "redis-server",
            *plain,
            *["--bind", "127.0.0.1", "--dir", str(directory), "--save", ""],
            *["--appendonly", "yes", "--enable-debug-command", "local"],
            *options,
        ]
        super().__init__(command, port, "", directory / "redis.log", clean_environment())

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"redis://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        """Whether it answers; one that wants a password or TLS does so by refusing."""
        try:
            answer = self.ask("PING")
        except ConnectionResetError:
            return True
        except OSError:
            return False
        return answer != "" and not answer.startswith("-LOADING")

    def ask(self, *command: str) -> str:
        """Return the first bytes of the answer to a command, as the protocol has them."""
        parts = "".join(f"${len(part)}\r\n{part}\r\n" for part in command)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"*{len(command)}\r\n{parts}".encode())
            return connection.recv(4096).decode(errors="replace")
