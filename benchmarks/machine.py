"""The machine that a benchmark runs on: what it is, how busy, and room on its disk."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def machine() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB",
        "kernel": platform.release(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def busy_share(seconds: float) -> float:
    """The part of all cores that others use, watched for some seconds: the noise to expect."""
    idle_before, total_before = _processor_ticks()
    time.sleep(seconds)
    idle_after, total_after = _processor_ticks()
    return 1 - (idle_after - idle_before) / (total_after - total_before)


def _processor_ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def cache_directory(benchmark: str) -> Path:
    """What a benchmark keeps in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "memgpt-proxy" / benchmark
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def scratch_directory(benchmark: str, name: str) -> Iterator[Path]:
    """A directory on a real disk, where a store's writes cost what they cost. Kept on an error."""
    directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache_directory(benchmark)))
    yield directory
    shutil.rmtree(directory)
