"""Everything the measurement needs besides this checkout, kept in the user's cache directory."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import cache_directory

HERE = Path(__file__).parent
CACHE = "overhead"
LITELLM_VERSION = "1.106.2"
PORTKEY_VERSION = "1.15.2"


class InstallError(Exception):
    """Something could not be installed; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The two programs of our own that every measurement needs."""

    mock: Path
    load: Path


def build_programs() -> Programs:
    """Build the mock backend and the load generator; Go's own cache makes a second time quick."""
    need("go", "install Go 1.21 or newer")
    target = cache_directory(CACHE) / "bin"
    target.mkdir(exist_ok=True)
    _do(["go", "build", "-o", f"{target}/", "./mock", "./load"], HERE)
    return Programs(target / "mock", target / "load")


def install_nginx() -> Path:
    """The system's nginx, else Debian's package, unpacked into the cache: nothing is started."""
    if found := shutil.which("nginx"):
        return Path(found)
    directory = cache_directory(CACHE) / "nginx"
    program = directory / "usr" / "sbin" / "nginx"
    if not program.exists():
        need("apt-get", "install nginx, or leave it out with --targets")
        directory.mkdir(exist_ok=True)
        _do(["apt-get", "download", "-q", "nginx"], directory)
        package = next(directory.glob("nginx_*.deb"))
        _do(["dpkg-deb", "--extract", package.name, "."], directory)
    return program


def install_litellm() -> Path:
    """LiteLLM's proxy in a virtual environment of its own, every dependency pinned."""
    directory = cache_directory(CACHE) / f"litellm-{LITELLM_VERSION}"
    program = directory / "bin" / "litellm"
    complete = directory / "complete"
    if not complete.exists():
        _do([sys.executable, "-m", "venv", "--clear", str(directory)], HERE)
        _do([f"{directory}/bin/pip", "install", "-q", "-r", "litellm.txt"], HERE)
        complete.touch()
    return program


def install_portkey() -> Path:
    """Portkey's gateway from npm; the path of its start script, to be given to node.

    portkey.json holds its server library where its own lock has it: with a newer one Portkey 1.15
    answers every stream with a 500 (its issue 1389).
    """
    directory = cache_directory(CACHE) / f"portkey-{PORTKEY_VERSION}"
    script = directory / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not script.exists():
        need("npm", "install Node 20 or newer, or leave out --with portkey")
        directory.mkdir(exist_ok=True)
        shutil.copy(HERE / "portkey.json", directory / "package.json")
        _do(["npm", "install", "--silent"], directory)
    return script


def need(program: str, advice: str) -> None:
    """Raise InstallError, with the advice, unless the program can be started."""
    if not shutil.which(program):
        raise InstallError(f"no program {program}: {advice}")


def _do(command: Sequence[str], directory: Path) -> None:
    print("+", *command, file=sys.stderr)
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
