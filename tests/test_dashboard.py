"""The dashboard asks for metrics and labels that there are, in PromQL that can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from prometheus_client.metrics_core import Metric

from benchmarks.dashboard.grafana import FILE, text
from tests.support.scrape import families
from tests.telemetry.exercised import exercised

OF_PROMETHEUS = frozenset({"instance", "job", "le"})
LEGEND = re.compile(r"\{\{(\w+)\}\}")


def targets() -> list[tuple[str, str]]:
    panels = json.loads(FILE.read_text(encoding="utf-8"))["panels"]
    return [
        (target["expr"], target["legendFormat"])
        for panel in panels
        for target in panel.get("targets", ())
    ]


def parsed(expression: str) -> Any:
    """Return a query as Grafana sends it, its variables filled in."""
    return promql_parser.parse(
        expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
    )


def nodes(expression: Any) -> Iterator[Any]:
    yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        if (child := getattr(expression, name, None)) is not None:
            yield from nodes(child)
    for child in getattr(expression, "args", ()):
        yield from nodes(child)


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """The labels of every series, by its name as Prometheus stores it."""
    found: dict[str, set[str]] = {}
    scraped: list[Metric] = families(exercised().exposition("")[0].decode())
    for family in scraped:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_the_file_is_what_is_written_for_it() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run python -m benchmarks.dashboard --write"


@pytest.mark.parametrize(("expression", "legend"), targets())
def test_a_query_asks_for_what_there_is(
    expression: str, legend: str, labels: dict[str, set[str]]
) -> None:
    tree = list(nodes(parsed(expression)))
    selectors = [node for node in tree if isinstance(node, promql_parser.VectorSelector)]
    assert selectors
    known: set[str] = set(OF_PROMETHEUS)
    for selector in selectors:
        assert selector.name in labels
        known |= labels[selector.name]
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= labels[selector.name] | OF_PROMETHEUS
    grouped = {
        label
        for node in tree
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier
        for label in node.modifier.labels
    }
    assert grouped <= known
    shown = set(LEGEND.findall(legend))
    aggregated = any(isinstance(node, promql_parser.AggregateExpr) for node in tree)
    assert shown <= (grouped if aggregated else known)
