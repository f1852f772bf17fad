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

RUNBOOK = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

RELEASE = f'namespace="{NAMESPACE}", job="memory"'
MINUTES = 30
"""How long a scenario lasts; a sample a minute, as ``start+step`` and how often."""

QUIET = {
    'up{pod="a", %s}': "1x30",
    'up{pod="b", %s}': "1x30",
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
    # One client with a model that there is not, and a model that is hardly asked.
    'CALLS{gen_ai_operation_name="chat", gen_ai_request_model="other", error_type="404", %s}': (
        "0+60x30"
    ),
    'CALLS{gen_ai_operation_name="chat", gen_ai_request_model="rare", error_type="503", %s}': (
        "0+2x30"
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
    "MemgptReplicasDown": ({'up{pod="b", %s}': "0x30"}, {}),
    "MemgptGone": ({'up{pod="a", %s}': "0x30", 'up{pod="b", %s}': "0x30"}, {}),
}


@pytest.fixture(scope="module")
def rules(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the rules as Prometheus reads them."""
    built(PROMTOOL)
    return rules_of(helm, tmp_path_factory.mktemp("rules"), {})


def rules_of(helm: Helm, folder: Path, more: Mapping[str, Any]) -> Path:
    """Return such a file for other values of ``prometheusRule``."""
    values = yaml.safe_load(CASES["everything"].read_text())
    values["prometheusRule"] |= more
    [made] = of_kind(helm.manifests(values), "PrometheusRule")
    path = folder / "rules.yaml"
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
    told = {
        name: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], words)
        for name, words in rule["annotations"].items()
    }
    return {"exp_labels": rule["labels"] | labels, "exp_annotations": told}


def test_the_rules_are_rules(rules: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", rules)


def test_there_is_a_scenario_for_each(rules: Path) -> None:
    assert alerts(rules).keys() == SCENARIOS.keys()


@pytest.mark.parametrize("alert", [*SCENARIOS, None], ids=str)
def test_an_alert_fires_alone(rules: Path, tmp_path: Path, alert: str | None) -> None:
    changed, labels = SCENARIOS[alert] if alert else ({}, {})
    expected = {
        name: [fired(rule, labels)] if name == alert else [] for name, rule in alerts(rules).items()
    }
    play(rules, tmp_path, QUIET | changed, expected)


def play(
    rules: Path,
    folder: Path,
    scraped: Mapping[str, str],
    expected: Mapping[str, list[dict[str, Any]]],
    of: str = RELEASE,
) -> None:
    """Have promtool play what is scraped; fail where alerts are not those expected, by name."""
    calls = re.findall(r"gen_ai_client_\w+_count", alerts(rules)["MemgptBackendFails"]["expr"])
    series = [
        {"series": name.replace("CALLS", calls[0]) % of, "values": values}
        for name, values in scraped.items()
    ]
    told = [
        {"eval_time": f"{MINUTES - 1}m", "alertname": name, "exp_alerts": each}
        for name, each in expected.items()
    ]
    played = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": told}],
    }
    (folder / "played.yaml").write_text(yaml.safe_dump(played))
    promtool("test", "rules", folder / "played.yaml")


STATUSES = ("400", "401", "402", "403", "404", "408", "413", "422", "429", "500", "503", "529")
OF_CLIENTS = {"400", "404", "413", "422"}


def test_what_a_client_has_asked_wrongly_is_no_failure_of_the_backend(
    rules: Path, tmp_path: Path
) -> None:
    """A model is named after the status that all of its calls end with."""
    series = 'CALLS{gen_ai_operation_name="chat", gen_ai_request_model="%s", error_type="%s", %%s}'
    scraped = {series % (status, status): "0+60x30" for status in (*STATUSES, "backend_timeout")}
    rule = alerts(rules)["MemgptBackendFails"]
    failures = [
        fired(rule, {"gen_ai_request_model": status})
        for status in (*STATUSES, "backend_timeout")
        if status not in OF_CLIENTS
    ]
    play(rules, tmp_path, scraped, {"MemgptBackendFails": failures})


def test_series_that_are_labelled_otherwise_are_found(helm: Helm, tmp_path: Path) -> None:
    """As those of a PodMonitor are, or those of a Prometheus that writes labels anew."""
    told = 'cluster="eu", container="gateway"'
    path = rules_of(helm, tmp_path, {"selector": told})
    for name, rule in alerts(path).items():
        assert told in rule["expr"], name
        assert 'job="' not in rule["expr"], name
    changed, _ = SCENARIOS["MemgptGone"]
    expected = {"MemgptGone": [fired(alerts(path)["MemgptGone"], {})], "MemgptReplicasDown": []}
    play(path, tmp_path, QUIET | changed, expected, of=told)
    play(path, tmp_path, QUIET, {"MemgptGone": []}, of=told)


def test_an_alert_says_what_to_do(rules: Path, helm: Helm, tmp_path: Path) -> None:
    for name, rule in alerts(rules).items():
        assert len(rule["annotations"]["description"]) > len(rule["annotations"]["summary"]), name
        assert "runbook_url" not in rule["annotations"], "nobody knows where it is"
    given = {
        "runbookUrl": "https://docs.example.org/operations",
        "alertAnnotations": {"dashboard": "https://grafana.example.org"},
    }
    for name, rule in alerts(rules_of(helm, tmp_path, given)).items():
        assert rule["annotations"]["dashboard"] == "https://grafana.example.org"
        address, _, heading = rule["annotations"]["runbook_url"].partition("#")
        assert address == "https://docs.example.org/operations"
        assert heading == name.lower()
        assert f"\n### {name}\n" in RUNBOOK


@pytest.mark.parametrize(
    ("series", "values"),
    [
        ("memgpt_journal_put_aside_writes_total{%s}", "0x25 1x5"),
        ('memgpt_unstored_turns_total{reason="refused", %s}', "0x25 1x5"),
        ('memgpt_unstored_turns_total{reason="late", %s}', ""),
        ('memgpt_store_full{pod="b", %s}', "1x30"),
    ],
)
def test_whatever_is_lost_is_told(rules: Path, tmp_path: Path, series: str, values: str) -> None:
    """But for what the store may have taken after all."""
    rule = alerts(rules)["MemgptWritesLost"]
    lost = [fired(rule, {})] if values else []
    play(rules, tmp_path, {series: values or "0x25 1x5"}, {"MemgptWritesLost": lost})


def test_alerts_of_several_releases_are_several(rules: Path) -> None:
    for rule in alerts(rules).values():
        told = {"namespace": NAMESPACE, "job": "memory", "team": "memory"}
        assert told.items() <= rule["labels"].items()
