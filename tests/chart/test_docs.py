"""What docs/deployment.md shows is what the chart takes."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart_schema import CHART
from tests.support.helm import CASES, FOR, Helm, of_kind

pytestmark = pytest.mark.chart

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def blocks(language: str) -> list[str]:
    """Those in lists, too."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


VALUES: list[dict[str, Any]] = [
    values
    for block in blocks("yaml")
    if not {"rules", "kind"} & (values := yaml.safe_load(block)).keys()
]
"""All but what configures something else."""

COMMANDS = [
    shlex.split(command)
    for block in blocks("sh")
    for command in block.replace("\\\n", " ").splitlines()
    if command.startswith("helm ") and "--set" in command
]


@pytest.mark.parametrize("case", ["backends", "production"])
def test_whole_examples_are_those_of_the_chart(case: str) -> None:
    assert CASES[case].read_text() in blocks("yaml")


def test_there_are_examples() -> None:
    assert len(VALUES) > 4
    assert len(COMMANDS) > 2


@pytest.mark.parametrize("values", VALUES, ids=lambda values: next(iter(values)))
def test_values_are_taken(helm: Helm, values: dict[str, Any]) -> None:
    fleet = yaml.safe_load(CASES["fleet"].read_text())
    if "autoscaling" in values:
        del fleet["replicas"]
    if "backends_file" in values.get("settings", {}):
        del fleet["backend"]
    helm.template(fleet | values)


def test_a_secret_of_a_vault_is_made_as_it_is_told(helm: Helm) -> None:
    """Its templates are those of another program."""
    [values] = [each for each in VALUES if {"existingSecret", "extraObjects"} <= each.keys()]
    fleet = yaml.safe_load(CASES["fleet"].read_text())
    made = of_kind(helm.manifests(fleet | values), "ExternalSecret")
    assert made == values["extraObjects"]
    assert made[0]["spec"]["target"]["name"] == values["existingSecret"]


def test_replicas_get_volumes_by_steps_that_are_tried() -> None:
    """By ``test_a_fleet_gets_volumes_for_its_journals_as_is_told``."""
    [block] = [each for each in blocks("sh") if "delete deployment" in each]
    orphaned, upgraded, drained = block.splitlines()
    assert orphaned.endswith("delete deployment memory-memgpt-proxy --cascade=orphan")
    assert "helm -n gateways upgrade memory" in upgraded
    assert "delete replicaset" in drained


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_are_taken(helm: Helm, command: list[str]) -> None:
    rendered(helm, command)


def rendered(helm: Helm, command: list[str]) -> str:
    """Return what a command would install; the file of values that it names is that of a fleet."""
    at = command.index("charts/memgpt-proxy")
    given = [
        str(CASES["fleet"]) if option == "memory.yaml" else option for option in command[at + 1 :]
    ]
    return helm.run("template", "memory", CHART, *FOR, *given)


def test_argo_cd_has_secrets_before_it_migrates_and_migrates_before_it_serves(helm: Helm) -> None:
    """By waves of one sync; what says no wave is of wave 0."""
    [values] = [each for each in VALUES if {"migration", "extraObjects"} <= each.keys()]
    fleet = yaml.safe_load(CASES["fleet"].read_text())
    manifests = helm.manifests(fleet | values)
    waves: dict[str, set[str]] = {}
    for each in manifests:
        annotations = each["metadata"].get("annotations", {})
        if annotations.get("helm.sh/hook") != "test":
            wave = annotations.get("argocd.argoproj.io/sync-wave", "0")
            waves.setdefault(wave, set()).add(f"{each['kind']} {each['metadata']['name']}")
            hook = annotations.get("argocd.argoproj.io/hook")
            assert hook == ("Sync" if wave == "-1" else None)
    assert waves["-2"] == {"ExternalSecret memgpt-secret"}
    assert "Job memory-memgpt-proxy-migration" in waves["-1"]
    assert all(name.endswith("-migration") for name in waves["-1"])
    assert "Deployment memory-memgpt-proxy" in waves["0"]


def test_an_upgrade_without_elasticsearch_is_told_where_it_is_looked_for(helm: Helm) -> None:
    """It has no hook that would fail."""
    [command] = [each for each in COMMANDS if "migration.enabled=false" in each]
    assert "pre-upgrade" not in rendered(helm, command)
    _, _, told = OPERATIONS.partition("## When Elasticsearch or Redis is away\n")
    assert "--set migration.enabled=false" in told.partition("\n## ")[0]
