"""Gateways as they are measured: one with its embedded store, or replicas of a fleet."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import scratch_directory
from benchmarks.process import Command, Cores, Running, free_port, running

CACHE = "fleet"
SECRET = "of a fleet that is measured"


@dataclass(frozen=True, slots=True)
class Replicas:
    """Gateways that are running, and their ports."""

    processes: Sequence[Running]
    ports: Sequence[int]

    def cpu_seconds(self) -> float:
        return sum(each.cpu_seconds() for each in self.processes)

    def resident_mb(self) -> float:
        """Of one of them, on average."""
        return sum(each.resident_mb() for each in self.processes) / len(self.processes)


@dataclass(frozen=True, slots=True)
class Site:
    """A row: how many gateways, and the settings that tell them what they share."""

    label: str
    replicas: int
    shared: dict[str, str] = field(default_factory=dict)


@contextmanager
def started(site: Site, backend_port: int, cores: Cores) -> Iterator[Replicas]:
    """Start a site's gateways on the measured core for the time of the block."""
    ports = [free_port() for _ in range(site.replicas)]
    with ExitStack() as stack:
        directory = stack.enter_context(scratch_directory(CACHE, "gateway"))
        processes = []
        for number, port in enumerate(ports):
            command = _gateway(directory / str(number), port, backend_port, site.shared)
            processes.append(stack.enter_context(running(command, [cores.measured])))
        for process, port in zip(processes, ports, strict=True):
            process.wait_until_ready(f"http://127.0.0.1:{port}/readyz")
        yield Replicas(processes, ports)


def _gateway(directory: Path, port: int, backend_port: int, shared: dict[str, str]) -> Command:
    directory.mkdir()
    program = str(Path(sys.executable).with_name("memgpt-proxy"))
    arguments = [program, "serve", "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--backend-url", f"http://127.0.0.1:{backend_port}/v1"]
    arguments += ["--data-dir", str(directory / "data")]
    return Command(arguments, directory / "log", {"MEMGPT_NAMESPACE_SECRET": SECRET, **shared})


@contextmanager
def redis(cores: Cores) -> Iterator[str]:
    """Start a Redis with an append-only file for the time of the block; return its URL."""
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        sys.exit("error: redis-server is not installed")
    with scratch_directory(CACHE, "redis") as directory:
        arguments = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        arguments += ["--dir", str(directory), "--appendonly", "yes"]
        with running(Command(arguments, directory / "log"), cores.others):
            yield f"redis://127.0.0.1:{port}"
