"""Fixtures for the chart: Helm, and a cluster whose nodes are played."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing_part
from tests.support.chart_schema import CHART
from tests.support.helm import Helm
from tests.support.kubernetes import ETCD, Cluster
from tests.support.kubernetes_build import CLUSTER, HELM, SOURCES, Source, Tool, checkers

BUILD = "run python -m tests.support.kubernetes_build"


def built(*parts: Tool | Source) -> None:
    """Skip the test where one of the parts was not built."""
    for part in parts:
        if not part.path.exists():
            missing_part(f"no {part.name} at {part.path}: {BUILD}")


@pytest.fixture(scope="session")
def python_checkers() -> Path:
    """The Python that has the checkers."""
    python = checkers()
    if not python.exists():
        missing_part(f"no checkers at {python}: {BUILD}")
    return python


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    built(HELM)
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster: take a namespace of your own."""
    built(*CLUSTER, *SOURCES)
    if ETCD is None:
        missing_part("no etcd on the PATH: install etcd-server from the system's packages")
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def copied_chart(tmp_path: Path) -> Path:
    """A chart of the test's own, to change."""
    return shutil.copytree(CHART, tmp_path / "chart")
