"""What the gateway counts of its own work, for Prometheus.

Where OpenTelemetry's conventions have a name (generative AI, HTTP, databases), it is theirs as
Prometheus writes it; all else begins with ``memgpt_``. Every label has a bounded set of values.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.exposition import choose_encoder

from memgpt_proxy import __version__
from memgpt_proxy.telemetry.backends import BackendTelemetry
from memgpt_proxy.telemetry.exchange import CURRENT
from memgpt_proxy.telemetry.instruments import Count, Distribution, Tally
from memgpt_proxy.telemetry.spans import Attributes, Kind, Span, Spans
from memgpt_proxy.telemetry.turns import TurnMetrics

_HTTP_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(30.0, 120.0),
)
"""Those that the conventions advise, and two more: turns take long."""
_STORE_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_MISSES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 2, 3)

UNSTORED = ("full", "refused", "unavailable", "late")
"""Why a turn is not stored: the disk is full, the store refuses what was said for good, neither it
nor a journal can take it now, or it has not answered in time and may store it yet."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_OTHER_METHOD = "_OTHER"


class Telemetry:
    """The counters of one gateway; each method takes what its name says has happened.

    Attributes:
        turns: What is measured of turns.
        backends: What is counted of several backends.
        spans: Where spans come from; None where nobody wants them.
    """

    def __init__(self, spans: Spans | None = None) -> None:
        self.spans = spans
        self._registry = CollectorRegistry()
        self.turns = TurnMetrics(self._registry)
        self.backends = BackendTelemetry(self._registry)
        self._measure_requests()
        self._measure_memory()
        self._measure_journals()
        self._measure_limits()
        self._gauge("build_info", "1, with the version", "version").labels(__version__).set(1)
        ProcessCollector(registry=self._registry)

    def _measure_requests(self) -> None:
        self._requests = Distribution(
            "http_server_request_duration_seconds",
            "From a request to the end of its answer; the status is 0 where the client left before",
            ("http_request_method", "http_route", "http_response_status_code"),
            _HTTP_SECONDS,
            self._registry,
        )
        self._streams = self._gauge("active_streams", "Requests under /v1 that are being answered")

    def span(self, name: str, kind: Kind, told: Attributes) -> Span | None:
        """Begin a span within what is under way for the request at hand.

        None where no request has asked for it, or nobody wants to know.
        """
        if self.spans is None:
            return None
        exchange = CURRENT.get()
        if exchange is None or exchange.within is None:
            return None
        return self.spans.begin(name, kind, exchange.within, told)

    def streams(self, running: Callable[[], int]) -> None:
        """Tell how many requests are being answered, by what knows."""
        self._streams.set_function(running)

    def queue(self, name: str, length: Callable[[], int]) -> None:
        """Tell how much waits in a queue of this process, by what knows."""
        self._queues.labels(name).set_function(length)

    def redis(self, away: Callable[[], bool]) -> None:
        """Tell whether Redis is away, by what knows."""
        self._redis_away.set_function(lambda: float(away()))

    def store_full(self, full: Callable[[], bool]) -> None:
        """Tell whether the store's disk is full, by what knows."""
        self._full.set_function(lambda: float(full()))

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer was sent; ``status`` is 0 where the client left before it.

        Args:
            route: One of a bounded set.
        """
        method = method if method in _METHODS else _OTHER_METHOD
        self._requests.labels(method, route, str(status)).observe(seconds)

    def key_used(self, name: str, tokens: int) -> None:
        """A request with a key of the operator's was answered.

        Args:
            tokens: Of its turn; none where it was no turn.
        """
        self._key_requests.labels(name).add()
        self._key_tokens.labels(name).add(tokens)

    def turn_ended(self, *, degraded: bool) -> None:
        self._turns.add()
        if degraded:
            self._degraded.add()

    def turn_not_stored(self, reason: str) -> None:
        """What was said in a turn is not stored, for one of the reasons in ``UNSTORED``."""
        self._unstored[reason].add()

    def store_asked(self, system: str, operation: str, error: str, seconds: float) -> None:
        """A store has done what it was asked for, or has failed with ``error``."""
        self._store.labels(system, operation, error).observe(seconds)

    def read_hot(self, *, hit: bool) -> None:
        """A turn has found all that it needs in memory, or asked the store."""
        (self._hit if hit else self._missed).add()

    def pressure_signalled(self) -> None:
        self._pressure.add()

    def prompt_reported(self, counted: float, reported: int) -> None:
        """A step's usage has come.

        Args:
            counted: What the prompt was taken for: our count, calibrated.
            reported: What the backend says.
        """
        if counted > 0 and reported > 0:
            self._miss.observe(reported / counted)

    def queue_flushed(self, evicted: int) -> None:
        self._flushes.add()
        self._evicted.add(evicted)

    def summary_failed(self) -> None:
        self._failed_summaries.add()

    def window_healed(self) -> None:
        self._healed.add()

    def store_away(self, *, away: bool) -> None:
        self._away.set(away)

    def writes_wait(self, journal: str, count: int | None) -> None:
        """So many wait; None where the journal does not say."""
        self._waiting.labels(journal).set(math.nan if count is None else count)

    def write_kept(self, journal: str) -> None:
        self._waiting.labels(journal).inc()

    def writes_drained(self, journal: str, count: int) -> None:
        self._waiting.labels(journal).dec(count)
        self._drained.add(count)

    def write_put_aside(self, journal: str) -> None:
        self._waiting.labels(journal).dec()
        self._put_aside.add()

    def write_refused(self) -> None:
        self._refused.add()

    def texts_embedded(self, count: int) -> None:
        self._embedded.add(count)

    def searched_by_words(self) -> None:
        self._by_words.add()

    def request_admitted(self) -> None:
        self._admitted.add()

    def request_limited(self, limit: str) -> None:
        self._limited.labels(limit).add()

    def tokens_spent(self, tokens: int) -> None:
        self._spent.add(tokens)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all of it as text, and the content type, for a scraper's ``Accept`` header.

        May be called from another thread.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _measure_memory(self) -> None:
        self._store = Distribution(
            "db_client_operation_duration_seconds",
            "What the store was asked for",
            ("db_system_name", "db_operation_name", "error_type"),
            _STORE_SECONDS,
            self._registry,
        )
        self._turns = self._counter("turns", "Turns that were begun and have ended")
        self._degraded = self._counter(
            "degraded_turns", "Turns that ran without memory, or could not be stored, or not yet"
        )
        unstored = self._counters(
            "unstored_turns", "Turns of which nothing said is stored, nor will be", "reason"
        )
        self._unstored = {reason: unstored.labels(reason) for reason in UNSTORED}
        self._miss = Distribution(
            "memgpt_token_count_miss",
            "Prompt tokens of a step as the backend reports them, as part of those counted",
            (),
            _MISSES,
            self._registry,
        ).labels()
        reads = self._counters("hot_reads", "Turns that found their memory hot, or not", "result")
        self._hit, self._missed = reads.labels("hit"), reads.labels("miss")
        self._pressure = self._counter("memory_pressure_alerts", "Alerts of memory pressure")
        self._flushes = self._counter("flushes", "Flushes of a queue")
        self._evicted = self._counter("evicted_messages", "Messages that flushes evicted")
        self._failed_summaries = self._counter(
            "failed_summaries", "Summaries for which an extract stands in"
        )
        self._healed = self._counter(
            "healed_windows", "Steps that came through after the backend found them too long"
        )
        self._queues = self._gauge("queue_length", "What waits in this process", "queue")
        self._embedded = self._counter(
            "embedded_texts", "Messages and passages that have got a vector"
        )
        self._by_words = self._counter(
            "searches_by_words", "Searches whose query got no vector: they went by words alone"
        )

    def _measure_journals(self) -> None:
        self._away = self._gauge(
            "store_away", "1 while the store is away or what waited for it is not stored yet"
        )
        self._full = self._gauge("store_full", "1 while the store's disk is full")
        self._redis_away = self._gauge(
            "redis_away", "1 from a command that Redis has not carried out to one that it has"
        )
        self._waiting = self._gauge(
            "journal_waiting_writes", "Writes that wait in a journal for the store", "journal"
        )
        self._drained = self._counter("journal_drained_writes", "Writes that waited, now stored")
        self._put_aside = self._counter(
            "journal_put_aside_writes", "Writes that waited, and that the store refused for good"
        )
        self._refused = self._counter(
            "journal_refused_writes", "Writes that neither the store nor a journal took"
        )

    def _measure_limits(self) -> None:
        self._admitted = self._counter("admitted_requests", "Requests that limits have let in")
        self._limited = self._counters(
            "limited_requests", "Requests refused with 429, by the limit that was reached", "limit"
        )
        self._spent = self._counter("limited_tokens", "Tokens counted against limits")
        self._key_requests = self._counters(
            "key_requests", "Requests of keys that were issued, by the name of who has one", "key"
        )
        self._key_tokens = self._counters("key_tokens", "Tokens of their turns", "key")

    def _counter(self, name: str, meaning: str) -> Tally:
        return self._counters(name, meaning).labels()

    def _counters(self, name: str, meaning: str, *labels: str) -> Count:
        return Count(f"memgpt_{name}", meaning, labels, self._registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"memgpt_{name}", meaning, labels, registry=self._registry)
