"""The rules and the autoscaler ask for metrics and labels that there are."""

from __future__ import annotations

import promql_parser
import pytest

from tests.support.helm import CASES, Helm, Manifest, of_kind
from tests.support.scrape import samples
from tests.telemetry.exercised import exercised
from tests.test_dashboard import nodes

pytestmark = pytest.mark.chart

OF_PROMETHEUS = {"namespace", "job", "le"}


@pytest.fixture(scope="module")
def manifests(helm: Helm) -> list[Manifest]:
    return helm.manifests(CASES["everything"])


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """The labels of every series, by its name."""
    found: dict[str, set[str]] = {"up": set()}
    for sample in samples(exercised().exposition("")[0].decode()):
        found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_the_rules(manifests: list[Manifest], labels: dict[str, set[str]]) -> None:
    [made] = of_kind(manifests, "PrometheusRule")
    rules = made["spec"]["groups"][0]["rules"]
    assert len(rules) > 5
    for rule in rules:
        tree = list(nodes(promql_parser.parse(rule["expr"])))
        selectors = [node for node in tree if isinstance(node, promql_parser.VectorSelector)]
        assert selectors, rule["alert"]
        for selector in selectors:
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert {"namespace", "job"} <= asked, "of this release, and no other"
            assert asked <= labels[str(selector.name)] | OF_PROMETHEUS, rule["alert"]


def test_the_autoscaler(manifests: list[Manifest], labels: dict[str, set[str]]) -> None:
    [scaler] = of_kind(manifests, "HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][1]["pods"]["metric"]["name"] in labels
