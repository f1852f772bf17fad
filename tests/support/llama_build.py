"""Build llama.cpp's server, once a machine: ``python -m tests.support.llama_build``.

The source is what the locked source package of llama-cpp-python carries; cmake and ninja are locked
packages too, so a C++ compiler is all that is taken from the system. The result lies in
``$XDG_CACHE_HOME/memgpt-proxy`` and costs about ten minutes of processor time.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements" / "llama.txt"
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}


def cache_dir() -> Path:
    """Where built parts are kept between checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "memgpt-proxy"


def server_path() -> Path:
    """Where the server of the locked version lies once it is built."""
    locked = re.search(r"^llama-cpp-python==([\w.]+)", LOCK.read_text(), re.MULTILINE)
    assert locked is not None, f"{LOCK} names no llama-cpp-python"
    return cache_dir() / f"llama-server-{locked[1]}"


def build() -> Path:
    """Return the server's path, building it first where it is missing."""
    target = server_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target, ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be building it
        if not target.exists():
            sys.stderr.write(f"Building {target} from source, this once …\n")
            with tempfile.TemporaryDirectory() as work:
                _build_in(Path(work), target)
    return target


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _build_in(work: Path, target: Path) -> None:
    source = _unpack(_download(work), work) / "vendor" / "llama.cpp"
    objects = work / "objects"
    options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = _beside(target, ".log")
    commands: list[list[str | Path]] = [
        ["cmake", "-S", source, "-B", objects, "-G", "Ninja", *options],
        ["cmake", "--build", objects, "--target", "llama-server"],
    ]
    with log.open("wb") as output:
        for command in commands:
            done = subprocess.run(
                command, env={**os.environ, "PATH": path}, stdout=output, stderr=output
            )
            if done.returncode != 0:
                raise SystemExit(f"llama.cpp was not built: {command[1]} failed, see {log}")
    finished = _beside(target, ".part")
    shutil.copy2(objects / "bin" / "llama-server", finished)
    finished.rename(target)


def _download(work: Path) -> Path:
    """Fetch the source package by its locked hash."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--no-build-isolation", "--no-binary", "llama-cpp-python"]
    subprocess.run([*pip, "--require-hashes", "-r", LOCK, "-d", work], check=True)
    return next(work.glob("llama_cpp_python-*.tar.gz"))


def _unpack(archive: Path, work: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    return work / archive.name.removesuffix(".tar.gz")


if __name__ == "__main__":
    build()
