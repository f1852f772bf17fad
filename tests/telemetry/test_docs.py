"""docs/metrics.md lists every metric with its type and labels, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.metrics_core import Metric

from tests.support.scrape import families
from tests.telemetry.exercised import exercised

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| (`\w.*?`) \| (\w+) \| (.*?) ?\| .+ \|$", re.MULTILINE)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {
        name: (kind, frozenset(quoted(labels)))
        for names, kind, labels in rows
        for name in quoted(names)
    }


def quoted(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def told(family: Metric) -> tuple[str, frozenset[str]]:
    labels = {name for sample in family.samples for name in sample.labels} - {"le"}
    return family.type, frozenset(labels)


def test_the_page_lists_each_metric_and_each_metric_is_listed() -> None:
    scraped = {
        family.name: told(family)
        for family in families(exercised().exposition("")[0].decode())
        if not family.name.endswith("_created")
    }
    assert documented() == scraped
