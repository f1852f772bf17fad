"""What the gateway counts of its own work, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

_MISSES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 2, 3)


class Telemetry:
    """The counters of one gateway; each method takes what its name says has happened."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._turns = self._counter("turns", "Turns that were begun and have ended")
        self._degraded = self._counter(
            "degraded_turns", "Turns that ran without memory, or could not be stored, or not yet"
        )
        self._flushes = self._counter("flushes", "Flushes of a queue")
        self._evicted = self._counter("evicted_messages", "Messages that flushes evicted")
        self._failed_summaries = self._counter(
            "failed_summaries", "Summaries for which an extract stands in"
        )
        self._healed = self._counter(
            "healed_windows", "Steps that came through after the backend found them too long"
        )
        self._streams = Gauge(
            "memgpt_active_streams",
            "Requests under /v1 that are being answered",
            registry=self._registry,
        )
        self._away = Gauge(
            "memgpt_store_away",
            "1 while the store is away or what waited for it is not stored yet",
            registry=self._registry,
        )
        self._waiting = Gauge(
            "memgpt_journal_waiting_writes",
            "Writes that wait in a journal for the store",
            ["journal"],
            registry=self._registry,
        )
        self._drained = self._counter("journal_drained_writes", "Writes that waited, now stored")
        self._put_aside = self._counter(
            "journal_put_aside_writes", "Writes that waited, and that the store refused for good"
        )
        self._refused = self._counter(
            "journal_refused_writes", "Writes that neither the store nor a journal took"
        )
        self._embedded = self._counter(
            "embedded_texts", "Messages and passages that have got a vector"
        )
        self._by_words = self._counter(
            "searches_by_words", "Searches whose query got no vector: they went by words alone"
        )
        self._admitted = self._counter("admitted_requests", "Requests that limits have let in")
        self._limited = Counter(
            "memgpt_limited_requests",
            "Requests refused with 429, by the limit that was reached",
            ["limit"],
            registry=self._registry,
        )
        self._tokens = self._counter("limited_tokens", "Tokens counted against limits")
        self._miss = Histogram(
            "memgpt_token_count_miss",
            "Prompt tokens of a step as the backend reports them, as part of those counted",
            buckets=_MISSES,
            registry=self._registry,
        )

    def streams(self, running: Callable[[], int]) -> None:
        """Tell how many requests are being answered, by what knows."""
        self._streams.set_function(running)

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer was sent; ``status`` is 0 where the client left before it."""

    def turn_ended(self, *, degraded: bool) -> None:
        self._turns.inc()
        if degraded:
            self._degraded.inc()

    def prompt_reported(self, counted: float, reported: int) -> None:
        """A step's usage has come.

        Args:
            counted: What the prompt was taken for: our count, calibrated.
            reported: What the backend says.
        """
        if counted > 0 and reported > 0:
            self._miss.observe(reported / counted)

    def queue_flushed(self, evicted: int) -> None:
        self._flushes.inc()
        self._evicted.inc(evicted)

    def summary_failed(self) -> None:
        self._failed_summaries.inc()

    def window_healed(self) -> None:
        self._healed.inc()

    def store_away(self, *, away: bool) -> None:
        self._away.set(away)

    def writes_wait(self, journal: str, count: int) -> None:
        self._waiting.labels(journal).set(count)

    def write_kept(self, journal: str) -> None:
        self._waiting.labels(journal).inc()

    def writes_drained(self, journal: str, count: int) -> None:
        self._waiting.labels(journal).dec(count)
        self._drained.inc(count)

    def write_put_aside(self, journal: str) -> None:
        self._waiting.labels(journal).dec()
        self._put_aside.inc()

    def write_refused(self) -> None:
        self._refused.inc()

    def texts_embedded(self, count: int) -> None:
        self._embedded.inc(count)

    def searched_by_words(self) -> None:
        self._by_words.inc()

    def request_admitted(self) -> None:
        self._admitted.inc()

    def request_limited(self, limit: str) -> None:
        self._limited.labels(limit).inc()

    def tokens_spent(self, tokens: int) -> None:
        self._tokens.inc(tokens)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all of it as text, and the content type, for a scraper's ``Accept`` header."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"memgpt_{name}", meaning, registry=self._registry)
