"""Helm, as tests run it: nothing of the user's own configuration, and nothing written there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.chart_schema import CHART
from tests.support.kubernetes_build import HELM, KUBERNETES

CASES = {
    path.name.removesuffix("-values.yaml"): path for path in (CHART / "ci").glob("*-values.yaml")
}
"""Files of values, by name: what the chart is rendered with in tests."""

FOR = ("--kube-version", KUBERNETES)
"""What charts are rendered for: a Helm that we built takes an old version for the cluster's."""

RELEASE, NAMESPACE = "memory", "gateways"

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm has refused; the message is what it printed."""


class Helm:
    """Runs Helm.

    Args:
        home: A directory for its files.
        kubeconfig: The cluster; none for what needs none.
    """

    def __init__(self, home: Path, kubeconfig: Path | None = None) -> None:
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HELM_PLUGINS": str(home / "plugins"),
            "KUBECONFIG": str(kubeconfig or home / "no-cluster"),
        }

    def run(self, *command: str | Path) -> str:
        """Return what a command prints. Raises HelmError."""
        done = subprocess.run(
            [HELM.path, *command],
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise HelmError(done.stderr)
        return done.stdout

    def template(
        self, values: Path | Mapping[str, Any], *options: str | Path, chart: Path = CHART
    ) -> str:
        """Return the chart rendered with a file of values, or some, as YAML documents.

        Raises HelmError where the values are refused.
        """
        if not isinstance(values, Path):
            given = Path(self._env["HOME"]) / "values.yaml"
            given.write_text(yaml.safe_dump(dict(values)))
            values = given
        where = ("--namespace", NAMESPACE, *FOR)
        return self.run("template", RELEASE, chart, "--values", values, *where, *options)

    def manifests(self, values: Path | Mapping[str, Any], *options: str) -> list[Manifest]:
        """Return what ``template`` renders, read."""
        return [each for each in yaml.safe_load_all(self.template(values, *options)) if each]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return those of one kind."""
    return [each for each in manifests if each["kind"] == kind]


def environment(manifests: list[Manifest], name: str) -> dict[str, str]:
    """Return the variables of the ConfigMap and Secret of this name."""
    found: dict[str, str] = {}
    for each in manifests:
        if each["kind"] in ("ConfigMap", "Secret") and each["metadata"]["name"] == name:
            found |= each.get("data", {}) | each.get("stringData", {})
    return found
