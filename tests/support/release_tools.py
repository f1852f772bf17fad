"""What makes and tries a release, once a machine: ``python -m tests.support.release_tools``.

An environment of the locked tools (build, cyclonedx-py, pipx), and the wheels that the product
needs, so that trying it needs no network; both in ``$XDG_CACHE_HOME/memgpt-proxy``. Prints the
tools' directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.support.llama_build import cache_dir

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "requirements" / "release.txt"
PRODUCT = ROOT / "requirements" / "image.txt"
LOCKED = ("--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement")


def tools() -> Path:
    """The directory of the tools' commands, once they are installed."""
    return _named("release-tools", TOOLS) / "bin"


def wheels() -> Path:
    """The directory of what the product needs, for this Python, once it is fetched."""
    return _named("release-wheels", PRODUCT)


def prepare() -> Path:
    """Make what is missing; return ``tools()``."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "release.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be at it
        if not (tools() / "installed").exists():
            venv.create(tools().parent, clear=True, with_pip=True)
            _pip(tools() / "python", "install", *LOCKED, str(TOOLS))
            (tools() / "installed").touch()
        if not wheels().is_dir():
            with tempfile.TemporaryDirectory(dir=cache_dir()) as work:
                fetched = Path(work) / "wheels"
                _pip(
                    Path(sys.executable), "download", "--dest", str(fetched), *LOCKED, str(PRODUCT)
                )
                fetched.rename(wheels())
    return tools()


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments], check=True
    )


def _named(what: str, lock: Path) -> Path:
    """Return a directory of the cache that is this lock's and this Python's alone."""
    made_of = lock.read_bytes() + sys.version.encode()
    return cache_dir() / f"{what}-{hashlib.sha256(made_of).hexdigest()[:16]}"


if __name__ == "__main__":
    sys.stdout.write(f"{prepare()}\n")
