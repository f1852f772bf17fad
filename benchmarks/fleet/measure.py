"""The loads: the same for every row, the direct call before each."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.fleet.site import Replicas, Site, started
from benchmarks.machine import busy_share
from benchmarks.overhead.load import CHAT, CHAT_STREAM, Generator, Request, Summary
from benchmarks.process import Cores
from benchmarks.rounds import Figures, Row

HEADERS = ("Authorization: Bearer bench-{client}",)
"""Each client has a key, and so a namespace, of its own."""

CLIENTS = 64
IDLE_STREAMS = 1000
IDLE_SECONDS = 8.0
IDLE = Request(
    "/v1/chat/completions", "chat", 2, True, f"mock-2x{1000 * IDLE_SECONDS:.0f}ms", IDLE_SECONDS / 2
)
"""A stream that says something as it begins and as it ends, and nothing in between."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    warm_up: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Bench:
    plan: Plan
    cores: Cores
    generator: Generator
    backend_port: int

    def measure(self, sites: Sequence[Site]) -> list[Row]:
        """Measure all sites, a round at a time, so that a noisy minute hits one round only."""
        found: dict[str, list[Figures]] = {site.label: [] for site in sites}
        for _ in range(self.plan.rounds):
            busy = busy_share(1.0)
            for site in sites:
                print(f"{site.label} …", file=sys.stderr, flush=True)
                with started(site, self.backend_port, self.cores) as replicas:
                    found[site.label].append({"busy": busy, **self._figures(replicas)})
        return [Row(label, figures) for label, figures in found.items()]

    def _figures(self, replicas: Replicas) -> Figures:
        figures = {"idle_mb": replicas.resident_mb()}
        for request in (CHAT, CHAT_STREAM):
            self._send(request, replicas.ports, CLIENTS, self.plan.warm_up)
        figures |= self._added("latency", CHAT, "latency_ms", replicas.ports, clients=1)
        before = replicas.cpu_seconds()
        busy = self._send(CHAT, replicas.ports, CLIENTS, self.plan.seconds)
        cpu = replicas.cpu_seconds() - before
        figures |= {
            "requests_per_second": busy["requests_per_second"],
            "cpu_per_request_us": cpu / busy["requests"] * 1e6,
            "busy_p50_ms": busy["latency_ms"]["p50"],
        }
        figures |= self._added("first_text", CHAT_STREAM, "first_text_ms", replicas.ports, CLIENTS)
        figures["loaded_mb"] = replicas.resident_mb()
        with highest(replicas.resident_mb) as peak:
            self._send(IDLE, replicas.ports, IDLE_STREAMS, IDLE.ramp)
        return {**figures, "streams_mb": peak[0]}

    def _added(
        self, name: str, request: Request, kind: str, ports: Sequence[int], clients: int
    ) -> Figures:
        direct = self._send(request, [self.backend_port], clients, self.plan.seconds / 2)
        through = self._send(request, ports, clients, self.plan.seconds)
        return {
            f"{name}_{part}_ms": through[kind][part] - direct[kind][part]  # type: ignore[literal-required]
            for part in ("p50", "p99")
        }

    def _send(
        self, request: Request, ports: Sequence[int], clients: int, seconds: float
    ) -> Summary:
        found = self.generator.send(request, ports, clients, seconds, HEADERS)
        if found["errors"]:
            print(f"  {found['errors']} errors: {found['first_error']}", file=sys.stderr)
        return found


@contextmanager
def highest(read: Callable[[], float]) -> Iterator[list[float]]:
    """Read a figure five times a second while the block runs; the highest is in the list then."""
    found, over = [read()], threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            found[0] = max(found[0], read())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join()
