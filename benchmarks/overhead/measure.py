"""The measurement: rounds, in each of which every target is started, loaded and ended alone."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import rounds
from benchmarks.machine import busy_share, scratch_directory
from benchmarks.overhead.install import CACHE, Programs
from benchmarks.overhead.load import (
    CHAT,
    CHAT_STREAM,
    STREAM_PIECES,
    Generator,
    Request,
    Summary,
)
from benchmarks.overhead.targets import AUTHORIZATION, Site, Target, Workload
from benchmarks.process import Command, Cores, Running, free_port, running
from benchmarks.rounds import Figures

LATENCY_CLIENTS = (1, 16)
BUSY_CLIENTS = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each load lasts, in seconds, and how often everything is repeated."""

    rounds: int
    warm_up: float
    direct: float
    target: float


@dataclass(frozen=True, slots=True)
class Row(rounds.Row):
    """One workload of one target."""

    target: str


@dataclass(frozen=True, slots=True)
class Bench:
    """The mock backend that all share, the load generator, and the cores."""

    plan: Plan
    cores: Cores
    generator: Generator
    backend_port: int

    def measure(self, targets: Sequence[Target]) -> list[Row]:
        """Measure all targets, a round at a time, so that a noisy minute hits one round only."""
        found: dict[tuple[str, str], list[Figures]] = {}
        for number in range(self.plan.rounds):
            busy = busy_share(1.0)
            _say(f"round {number + 1}: the machine was {busy:.0%} busy before it")
            found.setdefault(("direct", "direct"), []).append(self.direct() | {"busy": busy})
            for target in targets:
                for workload in target.workloads:
                    figures = self.workload(target, workload)
                    found.setdefault((workload.label, target.name), []).append(figures)
        return [Row(label, figures, name) for (label, name), figures in found.items()]

    def direct(self) -> Figures:
        """Figures of the call without anything between, to be read as the machine's speed."""
        _say("  direct")
        figures: Figures = {}
        for clients in LATENCY_CLIENTS:
            figures |= _percentiles(
                f"latency_{clients}", self.direct_call(CHAT, clients)["latency_ms"]
            )
        figures["requests_per_second"] = self.direct_call(CHAT, BUSY_CLIENTS)["requests_per_second"]
        streams = self.direct_call(CHAT_STREAM, BUSY_CLIENTS)
        figures |= _percentiles("first_text", streams["first_text_ms"])
        return figures | {"pieces_per_second": streams["pieces_per_second"], "errors": 0}

    def workload(self, target: Target, workload: Workload) -> Figures:
        """Start the target and put it under every load; the direct call goes before each."""
        _say(f"  {workload.label}")
        with self._started(target) as (site, process):
            probe = Probe(self, process, site.port, target.headers(site))
            figures = {"idle_mb": process.resident_mb()}
            probe.warm_up(workload)
            for clients in LATENCY_CLIENTS:
                figures |= probe.latency(workload.whole, clients)
            figures |= probe.throughput(workload.whole)
            if workload.stream:
                figures |= probe.streams(workload.stream)
            figures["loaded_mb"] = process.resident_mb()
        return figures | {"errors": probe.errors}

    @contextmanager
    def _started(self, target: Target) -> Iterator[tuple[Site, Running]]:
        with scratch_directory(CACHE, target.name) as directory:
            site = Site(directory, free_port(), self.backend_port)
            with running(target.command(site), [self.cores.measured]) as process:
                process.wait_until_ready(f"http://127.0.0.1:{site.port}{target.ready}")
                yield site, process

    def direct_call(self, request: Request, clients: int) -> Summary:
        seconds = self.plan.direct
        return self.generator.send(
            request, [self.backend_port], clients, seconds, headers=(AUTHORIZATION,)
        )


@dataclass(slots=True)
class Probe:
    """Puts one started target under load and compares it with the direct call just before."""

    bench: Bench
    process: Running
    port: int
    headers: Sequence[str]
    errors: int = 0

    def warm_up(self, workload: Workload) -> None:
        """Untimed requests: caches filled, connections open, every client's history known."""
        seconds = self.bench.plan.warm_up
        self._send(workload.whole, BUSY_CLIENTS, seconds)
        if workload.stream:
            self._send(workload.stream, BUSY_CLIENTS, seconds)

    def latency(self, request: Request, clients: int) -> Figures:
        direct = self.bench.direct_call(request, clients)["latency_ms"]
        through = self._send(request, clients, self.bench.plan.target)["latency_ms"]
        return _added(f"latency_{clients}", direct, through)

    def throughput(self, request: Request) -> Figures:
        direct = self.bench.direct_call(request, BUSY_CLIENTS)
        through, seconds = self._timed(request)
        rate = through["requests_per_second"]
        return {
            "requests_per_second": rate,
            "requests_ratio": rate / direct["requests_per_second"],
            "cpu_per_request_us": seconds / through["requests"] * 1e6,
        }

    def streams(self, request: Request) -> Figures:
        direct = self.bench.direct_call(request, BUSY_CLIENTS)
        through, seconds = self._timed(request)
        rate = through["pieces_per_second"]
        return _added("first_text", direct["first_text_ms"], through["first_text_ms"]) | {
            "pieces_per_second": rate,
            "pieces_ratio": rate / direct["pieces_per_second"],
            "cpu_per_chunk_us": seconds / (through["requests"] * STREAM_PIECES) * 1e6,
        }

    def _timed(self, request: Request) -> tuple[Summary, float]:
        """Load at full strength, and the CPU seconds that the target used meanwhile."""
        before = self.process.cpu_seconds()
        through = self._send(request, BUSY_CLIENTS, self.bench.plan.target)
        return through, self.process.cpu_seconds() - before

    def _send(self, request: Request, clients: int, seconds: float) -> Summary:
        found = self.bench.generator.send(request, [self.port], clients, seconds, self.headers)
        self.errors += found["errors"]
        if found["errors"]:
            _say(f"    {found['errors']} errors, the first: {found['first_error']}")
        return found


@contextmanager
def bench(plan: Plan, programs: Programs) -> Iterator[Bench]:
    """Start the mock backend for the time of the block."""
    cores, port = Cores.split(), free_port()
    with scratch_directory(CACHE, "mock") as directory:
        command = Command([str(programs.mock), f"-listen=127.0.0.1:{port}"], directory / "log")
        with running(command, cores.others) as process:
            process.wait_until_ready(f"http://127.0.0.1:{port}/v1/models")
            yield Bench(plan, cores, Generator(programs.load, cores.others), port)


def _percentiles(name: str, found: Figures) -> Figures:
    return {f"{name}_{part}_ms": found[part] for part in ("p50", "p99")}


def _added(name: str, direct: Figures, through: Figures) -> Figures:
    return {f"{name}_{part}_ms": through[part] - direct[part] for part in ("p50", "p99")}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
