"""A disk so small that a test can fill it: a file system in memory, which only root can mount."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILLER = "filler"
_STEP = b"\0" * 4096


class SmallDisk:
    """A mounted file system of a few MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, *, but: int = 0) -> None:
        """Write until it takes no more; or until so many bytes are free, about."""
        with suppress(OSError), (self.path / _FILLER).open("ab", buffering=0) as filler:
            while shutil.disk_usage(self.path).free > but and filler.write(_STEP):
                """It goes on until there is no room."""

    def make_room(self) -> None:
        """Delete what filled it."""
        (self.path / _FILLER).unlink()


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[SmallDisk]:
    """Mount an empty disk at ``path``, which is made. Raises OSError where that cannot be."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        raise OSError(mounted.stderr.strip())
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
