"""Each alert fires when it should, and alone: promtool plays what Prometheus would have scraped."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import built
from tests.support.helm import CASES, NAMESPACE, Helm, of_kind
from tests.support.kubernetes_build import PROMTOOL

pytestmark = pytest.mark.chart

RELEASE = f'namespace="{NAMESPACE}", job="memory"'
MINUTES = 30
"""How long a scenario lasts; a sample a minute, as ``start+step`` and how often."""

QUIET = {
    "up{%s}": "1x30",
    "memgpt_store_away{%s}": "0x30",
    "memgpt_redis_away{%s}": "0x30",
    "memgpt_turns_total{%s}": "0+600x30",
    "memgpt_degraded_turns_total{%s}": "0+1x30",
    'memgpt_journal_waiting_writes{journal="redis", %s}': "0x30",
    "memgpt_journal_refused_writes_total{%s}": "0x30",
    "memgpt_journal_put_aside_writes_total{%s}": "0x30",
    'http_server_request_duration_seconds_count{http_response_status_code="200", %s}': "0+600x30",
    'http_server_request_duration_seconds_count{http_response_status_code="503", %s}': "0+1x30",
    'CALLS{gen_ai_operation_name="chat", gen_ai_request_model="m", error_type="", %s}': "0+600x30",
    # An embedding model that is being loaded is asked again, in the background.
    'CALLS{gen_ai_operation_name="embeddings", gen_ai_request_model="e", error_type="503", %s}': (
        "0+60x30"
    ),
    'gen_ai_server_time_to_first_token_seconds_bucket{le="1", %s}': "0+600x30",
    'gen_ai_server_time_to_first_token_seconds_bucket{le="+Inf", %s}': "0+600x30",
}
"""A fleet that is well: one turn in 600 is degraded, and one request fails.

CALLS are those of the backend, by the name that the rule has for them.
"""

SCENARIOS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # The alert: what is scraped otherwise, and labels of its own that it then has.
    "MemgptStoreAway": ({'memgpt_store_away{pod="b", %s}': "1x30"}, {}),
    "MemgptRedisAway": ({'memgpt_redis_away{pod="b", %s}': "1x30"}, {}),
    "MemgptTurnsDegraded": ({"memgpt_degraded_turns_total{%s}": "0+60x30"}, {}),
    "MemgptJournalGrows": (
        {'memgpt_journal_waiting_writes{journal="redis", %s}': "0+200x30"},
        {"journal": "redis"},
    ),
    "MemgptWritesLost": ({"memgpt_journal_refused_writes_total{%s}": "0x25 1x5"}, {}),
    "MemgptRequestsFail": (
        {
            'http_server_request_duration_seconds_count{http_response_status_code="503", %s}': (
                "0+60x30"
            )
        },
        {},
    ),
    "MemgptBackendFails": (
        {
            'CALLS{gen_ai_operation_name="chat", gen_ai_request_model="m", error_type="500", %s}': (
                "0+60x30"
            )
        },
        {"gen_ai_request_model": "m"},
    ),
    "MemgptFirstTokenLate": (
        {
            'gen_ai_server_time_to_first_token_seconds_bucket{le="1", %s}': "0+500x30",
            'gen_ai_server_time_to_first_token_seconds_bucket{le="10", %s}': "0+500x30",
            'gen_ai_server_time_to_first_token_seconds_bucket{le="60", %s}': "0+600x30",
        },
        {},
    ),
    "MemgptGone": ({"up{%s}": "0x30"}, {}),
}


@pytest.fixture(scope="module")
def rules(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the rules as Prometheus reads them."""
    built(PROMTOOL)
    [made] = of_kind(helm.manifests(CASES["everything"]), "PrometheusRule")
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump(made["spec"]))
    return path


def promtool(*command: str | Path) -> str:
    done = subprocess.run([PROMTOOL.path, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts(rules: Path) -> dict[str, dict[str, Any]]:
    [group] = yaml.safe_load(rules.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def fired(rule: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return an alert as promtool expects it, with its labels in its words."""
    summary = re.sub(
        r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], rule["annotations"]["summary"]
    )
    return {"exp_labels": rule["labels"] | labels, "exp_annotations": {"summary": summary}}


def test_the_rules_are_rules(rules: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", rules)


def test_there_is_a_scenario_for_each(rules: Path) -> None:
    assert alerts(rules).keys() == SCENARIOS.keys()


@pytest.mark.parametrize("alert", [*SCENARIOS, None], ids=str)
def test_an_alert_fires_alone(rules: Path, tmp_path: Path, alert: str | None) -> None:
    changed, labels = SCENARIOS[alert] if alert else ({}, {})
    calls = re.findall(r"gen_ai_client_\w+_count", alerts(rules)["MemgptBackendFails"]["expr"])
    scraped = {
        name.replace("CALLS", calls[0]) % RELEASE: values
        for name, values in (QUIET | changed).items()
    }
    expected = [
        {
            "eval_time": f"{MINUTES - 1}m",
            "alertname": name,
            "exp_alerts": [fired(rule, labels)] if name == alert else [],
        }
        for name, rule in alerts(rules).items()
    ]
    series = [{"series": name, "values": values} for name, values in scraped.items()]
    played = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": expected}],
    }
    (tmp_path / "played.yaml").write_text(yaml.safe_dump(played))
    promtool("test", "rules", tmp_path / "played.yaml")


def test_alerts_of_several_releases_are_several(rules: Path) -> None:
    for rule in alerts(rules).values():
        told = {"namespace": NAMESPACE, "job": "memory", "team": "memory"}
        assert told.items() <= rule["labels"].items()
