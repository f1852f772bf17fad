"""What a scrape of ``/metrics`` says."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: its name as Prometheus stores it, its labels, its value."""

    name: str
    labels: dict[str, str]
    value: float


def families(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def samples(text: str) -> list[Sample]:
    """All samples but those that tell when a counter was made."""
    return [
        Sample(sample.name, dict(sample.labels), sample.value)
        for family in families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
