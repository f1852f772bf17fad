"""An image's process as a container engine would run it, by the kernel's means alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

INSIDE = Path(__file__).with_name("inside.py")
DEADLINE = 30.0


class Container:
    """Runs an image with a read-only root, as its user, with no network but loopback.

    Args:
        root: The directory that holds the image's files.
        config: The image's configuration: User, Env, Entrypoint and so on.
        data: What is mounted at the image's volume; it becomes the user's.
        log: A file for what is printed.
    """

    def __init__(self, root: Path, config: Mapping[str, Any], data: Path, log: Path) -> None:
        self._root = root
        self._config = config
        self._data = data
        self._log = log
        self._outside: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._outside is None:
            return
        # Changing its user has freed what runs inside of the signal that --kill-child asks for.
        for inside in self._inside():
            os.kill(inside, signal.SIGKILL)
        self._outside.kill()
        self._outside.wait()

    def start(self) -> None:
        """Start the entry point with the default command; return when it is healthy."""
        uid, _, gid = self._config["User"].partition(":")
        os.chown(self._data, int(uid), int(gid))
        (volume,) = self._config["Volumes"]
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        command += [sys.executable, str(INSIDE), str(self._root), str(self._data), volume]
        command += [self._config["User"], *self._env()]
        command += [*self._config["Entrypoint"], *self._config["Cmd"]]
        with self._log.open("ab") as log:
            self._outside = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while "Stop with Ctrl+C." not in self.log() or self.run(*self.health_check).returncode:
            assert self._outside.poll() is None, f"it ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"it was never healthy:\n{self.log()}"

    @property
    def health_check(self) -> Sequence[str]:
        """The command that tells whether it lives."""
        kind, *command = self._config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return command

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another command inside, as the same user, with the image's environment."""
        uid, _, gid = self._config["User"].partition(":")
        enter = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd"]
        enter += ["--setuid", uid, "--setgid", gid, *self._env(), *command]
        return subprocess.run(enter, capture_output=True, text=True, timeout=DEADLINE)

    def from_outside(self, *command: str) -> str:
        """Run a command of this machine's in the container's network; return what it prints."""
        enter = ["nsenter", "--target", str(self.pid), "--net", *command]
        done = subprocess.run(enter, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, f"{done.stderr}\n{self.log()}"
        return done.stdout

    def stop(self) -> int:
        """Send the image's stop signal to its first process; return the exit status."""
        assert self._outside is not None
        os.kill(self.pid, signal.Signals[self._config["StopSignal"]])
        return self._outside.wait(DEADLINE)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The first process inside, as it is called outside."""
        children = self._inside()
        assert children, f"it ended:\n{self.log()}"
        return children[0]

    def _inside(self) -> Sequence[int]:
        assert self._outside is not None
        outside = self._outside.pid
        try:
            children = Path(f"/proc/{outside}/task/{outside}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(child) for child in children.split()]

    def _env(self) -> Sequence[str]:
        return ["/usr/bin/env", "-i", *self._config["Env"]]
