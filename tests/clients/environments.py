"""The clients' environments, made once a machine: ``python -m tests.clients``.

Each client is installed from its own lock, apart from this project's packages, into
``$XDG_CACHE_HOME/memgpt-proxy/clients``, and again when its lock has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.llama_build import cache_dir

HERE = Path(__file__).parent
SERVING = HERE / "serving"
_COMPLETE = "complete"


class NotInstalled(Exception):
    """A client could not be installed; says what is missing."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a client's packages are; made by one of the subclasses from its folder's lock."""

    folder: str

    @property
    def source(self) -> Path:
        """The folder with the lock and the client's program."""
        return HERE / self.folder

    @property
    def directory(self) -> Path:
        """Where the environment lies once it is made."""
        digest = hashlib.sha256(self.tool().encode())
        for name in self.locked():
            digest.update(name.encode() + (self.source / name).read_bytes())
        return cache_dir() / "clients" / f"{self.folder}-{digest.hexdigest()[:12]}"

    @property
    def is_complete(self) -> bool:
        return (self.directory / _COMPLETE).exists()

    def ensure(self) -> None:
        """Make the environment where it is missing. Raises NotInstalled."""
        directory = self.directory
        directory.parent.mkdir(parents=True, exist_ok=True)
        with directory.with_name(directory.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be making it
            if self.is_complete:
                return
            sys.stderr.write(f"Installing the client {self.folder}, this once …\n")
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            self.install()
            (directory / _COMPLETE).touch()

    def locked(self) -> Sequence[str]:
        """The files of the folder that say what is installed."""
        raise NotImplementedError

    def tool(self) -> str:
        """What installs and runs it, with its version."""
        raise NotImplementedError

    def install(self) -> None:
        """Fill the directory, which is there and empty. Raises NotInstalled."""
        raise NotImplementedError

    def command(self, program: Path, work: Path) -> list[str]:
        """The command that runs a program in this environment.

        Args:
            program: its source.
            work: an empty directory for what running it needs.
        """
        raise NotImplementedError


class PythonEnvironment(Environment):
    """A virtual environment, from ``requirements.txt``."""

    __slots__ = ()

    def locked(self) -> Sequence[str]:
        return ["requirements.txt"]

    def tool(self) -> str:
        return f"python {sys.version_info.major}.{sys.version_info.minor}"

    @property
    def python(self) -> str:
        return str(self.directory / "bin" / "python")

    def install(self) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(self.directory)])
        if shutil.which("uv") is not None:  # faster, and does the same
            pip = ["uv", "pip", "install", "--python", self.python, "--compile-bytecode"]
        else:
            pip = [sys.executable, "-m", "pip", "--python", self.python, "install"]
            pip += ["--disable-pip-version-check", "--no-input"]
        lock = str(self.source / "requirements.txt")
        _run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", lock])

    def command(self, program: Path, work: Path) -> list[str]:
        return [self.python, str(program)]


class NodeEnvironment(Environment):
    """A ``node_modules``, from ``package-lock.json``."""

    __slots__ = ()

    def locked(self) -> Sequence[str]:
        return ["package.json", "package-lock.json"]

    def tool(self) -> str:
        return "node"

    def install(self) -> None:
        for name in [*self.locked(), ".npmrc"]:
            shutil.copy(self.source / name, self.directory)
        quiet = ["--loglevel=error", "--no-audit", "--no-fund"]
        _run(["npm", "ci", *quiet, "--ignore-scripts"], self.directory)

    def command(self, program: Path, work: Path) -> list[str]:
        # Node looks for packages beside the program.
        (work / "node_modules").symlink_to(self.directory / "node_modules")
        for source in (program, *SERVING.glob("*.mjs")):
            shutil.copy(source, work)
        return ["node", str(work / program.name)]


class GoEnvironment(Environment):
    """Compiled programs, from ``go.mod`` and ``go.sum``."""

    __slots__ = ()

    def locked(self) -> Sequence[str]:
        return ["go.mod", "go.sum", "program.go"]

    def tool(self) -> str:
        return "go"

    def install(self) -> None:
        self._build(self.source, self.directory / "program")

    def command(self, program: Path, work: Path) -> list[str]:
        if program.parent == self.source:
            return [str(self.directory / "program")]
        for name in ["go.mod", "go.sum"]:
            shutil.copy(self.source / name, work)
        shutil.copy(program, work)
        self._build(work, work / "program")
        return [str(work / "program")]

    def _build(self, source: Path, target: Path) -> None:
        _run(["go", "build", "-mod=readonly", "-o", str(target), "."], source)


def _run(command: list[str], directory: Path | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise NotInstalled(f"{command[0]} is not on the PATH")
    go = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **go}, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise NotInstalled(f"{' '.join(command[:4])} … failed:\n{done.stdout}{done.stderr}")
