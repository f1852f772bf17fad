"""A histogram of our own, beside the one of Prometheus's client."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest

from memgpt_proxy.telemetry.instruments import Distribution
from tests.support.scrape import samples

BOUNDS = (0.01, 0.1, 1.0, 4.0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 0.01, 0.05, 1, 3, 4, 9.5]))))
def test_it_tells_what_theirs_tells(values: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distribution = Distribution("seconds", "Time", ("kind",), BOUNDS, ours)
    histogram = Histogram("seconds", "Time", ["kind"], buckets=BOUNDS, registry=theirs)
    for kind, value in values:
        distribution.labels(kind).observe(value)
        histogram.labels(kind).observe(value)
    told = samples(generate_latest(ours).decode())
    assert told == samples(generate_latest(theirs).decode())


def test_without_labels_it_is_told_from_the_beginning() -> None:
    registry = CollectorRegistry()
    Distribution("seconds", "Time", (), (1.0,), registry)
    told = samples(generate_latest(registry).decode())
    assert {(each.name, each.value) for each in told} == {
        ("seconds_bucket", 0),
        ("seconds_count", 0),
        ("seconds_sum", 0),
    }
