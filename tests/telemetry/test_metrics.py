"""What is counted, and that it is told in Prometheus's formats."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics import parser as openmetrics

from memgpt_proxy.telemetry import Telemetry
from tests.support.scrape import Sample, samples
from tests.telemetry.exercised import exercised

VALUES = Path(__file__).parents[2] / "charts" / "memgpt-proxy" / "values.yaml"


def told(telemetry: Telemetry) -> dict[str, float]:
    """The samples that have no labels, by their names; of this process itself none."""
    return {
        sample.name: sample.value
        for sample in samples(telemetry.exposition("")[0].decode())
        if not sample.labels and not sample.name.startswith("process_")
    }


def labelled(telemetry: Telemetry, name: str) -> list[Sample]:
    all_samples = samples(telemetry.exposition("")[0].decode())
    return [each for each in all_samples if each.name == name and each.value]


NOTHING = {
    "memgpt_active_streams": 0,
    "memgpt_turns_total": 0,
    "memgpt_degraded_turns_total": 0,
    "memgpt_memory_pressure_alerts_total": 0,
    "memgpt_flushes_total": 0,
    "memgpt_evicted_messages_total": 0,
    "memgpt_failed_summaries_total": 0,
    "memgpt_healed_windows_total": 0,
    "memgpt_store_away": 0,
    "memgpt_store_full": 0,
    "memgpt_redis_away": 0,
    "memgpt_journal_drained_writes_total": 0,
    "memgpt_journal_put_aside_writes_total": 0,
    "memgpt_journal_refused_writes_total": 0,
    "memgpt_embedded_texts_total": 0,
    "memgpt_searches_by_words_total": 0,
    "memgpt_admitted_requests_total": 0,
    "memgpt_limited_tokens_total": 0,
    "memgpt_token_count_miss_count": 0,
    "memgpt_token_count_miss_sum": 0,
}


def test_all_is_told_from_the_beginning() -> None:
    assert told(Telemetry()) == NOTHING


def test_what_happens_is_counted() -> None:
    telemetry = Telemetry()
    telemetry.streams(lambda: 3)
    telemetry.turn_ended(degraded=False)
    telemetry.turn_ended(degraded=True)
    telemetry.pressure_signalled()
    telemetry.queue_flushed(7)
    telemetry.queue_flushed(5)
    telemetry.summary_failed()
    telemetry.window_healed()
    telemetry.texts_embedded(32)
    telemetry.texts_embedded(3)
    telemetry.searched_by_words()
    telemetry.request_admitted()
    telemetry.request_limited("requests")
    telemetry.tokens_spent(70)
    telemetry.prompt_reported(1000, 1100)
    telemetry.store_away(away=True)
    telemetry.redis(lambda: True)
    telemetry.writes_wait("redis", 3)
    telemetry.write_kept("redis")
    telemetry.writes_drained("redis", 1)
    telemetry.write_put_aside("redis")
    telemetry.write_refused()
    assert told(telemetry) == {
        "memgpt_active_streams": 3,
        "memgpt_turns_total": 2,
        "memgpt_degraded_turns_total": 1,
        "memgpt_memory_pressure_alerts_total": 1,
        "memgpt_flushes_total": 2,
        "memgpt_evicted_messages_total": 12,
        "memgpt_failed_summaries_total": 1,
        "memgpt_healed_windows_total": 1,
        "memgpt_store_away": 1,
        "memgpt_store_full": 0,
        "memgpt_redis_away": 1,
        "memgpt_journal_drained_writes_total": 1,
        "memgpt_journal_put_aside_writes_total": 1,
        "memgpt_journal_refused_writes_total": 1,
        "memgpt_embedded_texts_total": 35,
        "memgpt_searches_by_words_total": 1,
        "memgpt_admitted_requests_total": 1,
        "memgpt_limited_tokens_total": 70,
        "memgpt_token_count_miss_count": 1,
        "memgpt_token_count_miss_sum": pytest.approx(1.1),
    }
    text, _ = telemetry.exposition("")
    assert 'memgpt_journal_waiting_writes{journal="redis"} 2.0' in text.decode()
    assert told(Telemetry()) == NOTHING, "one gateway's counts are not another's"
    telemetry.writes_wait("redis", None)
    text, _ = telemetry.exposition("")
    assert 'memgpt_journal_waiting_writes{journal="redis"} NaN' in text.decode()


def test_refusals_are_counted_by_their_limit() -> None:
    telemetry = Telemetry()
    telemetry.request_limited("requests")
    telemetry.request_limited("tokens")
    telemetry.request_limited("tokens")
    lines = telemetry.exposition("")[0].decode().splitlines()
    assert 'memgpt_limited_requests_total{limit="requests"} 1.0' in lines
    assert 'memgpt_limited_requests_total{limit="tokens"} 2.0' in lines


def test_requests_are_counted_by_what_they_asked_and_got() -> None:
    telemetry = Telemetry()
    telemetry.request_ended("POST", "/v1/*", 200, 0.2)
    telemetry.request_ended("POST", "/v1/*", 200, 0.3)
    telemetry.request_ended("BREW", "other", 404, 0.01)
    counted = labelled(telemetry, "http_server_request_duration_seconds_count")
    names = ("http_request_method", "http_route", "http_response_status_code")
    values = [(*(each.labels[name] for name in names), each.value) for each in counted]
    assert values == [("POST", "/v1/*", "200", 2), ("_OTHER", "other", "404", 1)]


def test_a_count_that_means_nothing_is_left_out() -> None:
    telemetry = Telemetry()
    telemetry.prompt_reported(0, 100)
    telemetry.prompt_reported(100, 0)
    assert told(telemetry) == NOTHING


def test_the_format_is_what_the_scraper_takes() -> None:
    text, kind = Telemetry().exposition("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert list(openmetrics.text_string_to_metric_families(text.decode()))
    assert Telemetry().exposition("text/html")[1].startswith("text/plain")


def test_first_tokens_are_told_apart_beyond_what_the_chart_alarms_at() -> None:
    """A quantile is never more than the last bound of a histogram: no alarm would come."""
    alarms_at = yaml.safe_load(VALUES.read_text())["prometheusRule"]["firstTokenSeconds"]
    name = "gen_ai_server_time_to_first_token_seconds_bucket"
    buckets = samples(exercised().exposition("")[0].decode())
    bounds = {float(each.labels["le"]) for each in buckets if each.name == name} - {math.inf}
    assert max(bounds) > 2 * alarms_at
