"""What the gateway counts of its backends, for Prometheus. A leaf."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class BackendTelemetry:
    """Counters of each backend, by its name; each method takes what its name says."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._retries = Counter(
            "memgpt_backend_retries",
            "Requests to a backend that were made again",
            ["backend"],
            registry=registry,
        )
        self._fallbacks = Counter(
            "memgpt_backend_fallbacks",
            "Requests that another model answered, by the backend that could not",
            ["backend"],
            registry=registry,
        )
        self._busy = Counter(
            "memgpt_backend_busy",
            "Requests that found no place at a backend, or none in time",
            ["backend"],
            registry=registry,
        )
        self._left_out = Gauge(
            "memgpt_backend_left_out",
            "1 while a backend keeps failing and is left out where another can answer",
            ["backend"],
            registry=registry,
        )
        self._waiting = Gauge(
            "memgpt_backend_waiting_requests",
            "Requests that wait for a place at a backend",
            ["backend"],
            registry=registry,
        )

    def retried(self, backend: str) -> None:
        self._retries.labels(backend).inc()

    def fell_back(self, backend: str) -> None:
        self._fallbacks.labels(backend).inc()

    def was_busy(self, backend: str) -> None:
        self._busy.labels(backend).inc()

    def left_out(self, backend: str, *, out: bool) -> None:
        self._left_out.labels(backend).set(out)

    def requests_wait(self, backend: str, count: int) -> None:
        self._waiting.labels(backend).set(count)
