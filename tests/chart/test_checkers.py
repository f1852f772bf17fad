"""The chart before its checkers: Helm's lint, its own unit tests, schemas, policies."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import built
from tests.support.chart_schema import CHART
from tests.support.helm import CASES, Helm
from tests.support.kubernetes import CRDS
from tests.support.kubernetes_build import (
    GATEWAY_API,
    KUBECONFORM,
    PROMETHEUS_OPERATOR,
    UNITTEST,
)
from tests.support.kubernetes_schemas import versions, write_crd_schemas, write_schemas

pytestmark = [pytest.mark.chart, pytest.mark.slow, pytest.mark.timeout(180)]

OLDEST = "1.30."
"""What Chart.yaml asks for."""


@pytest.fixture(scope="module")
def rendered(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the chart rendered for each case."""
    folder = tmp_path_factory.mktemp("rendered")
    for name, values in CASES.items():
        (folder / f"{name}.yaml").write_text(helm.template(values))
    return folder


@pytest.mark.parametrize("case", sorted(CASES))
def test_lint_has_no_complaint(helm: Helm, case: str) -> None:
    helm.run("lint", "--strict", CHART, "--values", CASES[case])


def test_its_unit_tests_pass() -> None:
    built(UNITTEST)
    done = subprocess.run([UNITTEST.path, CHART], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def schemas(python_checkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with schemas; that of a version of Kubernetes is written when it is needed."""
    built(KUBECONFORM, GATEWAY_API, PROMETHEUS_OPERATOR)
    folder = tmp_path_factory.mktemp("schemas")
    write_crd_schemas(CRDS, folder / "crds")
    return folder


def test_it_fits_every_version_of_kubernetes(rendered: Path, schemas: Path) -> None:
    known = versions()
    first = next(at for at, version in enumerate(known) if version.startswith(OLDEST))
    assert len(known[first:]) > 3
    kinds = kinds_in(rendered)
    for version in known[first:]:
        write_schemas(version, kinds, schemas)
        assert conforms(rendered, schemas, version) == []


def kinds_in(rendered: Path) -> set[str]:
    texts = (path.read_text() for path in rendered.iterdir())
    return {each["kind"] for text in texts for each in yaml.safe_load_all(text) if each}


def conforms(rendered: Path, schemas: Path, version: str) -> list[str]:
    """Return what kubeconform has to say against what was rendered."""
    own = schemas / "{{.NormalizedKubernetesVersion}}-standalone{{.StrictSuffix}}"
    kinds = "{{.ResourceKind}}{{.KindSuffix}}.json"
    crds = schemas / "crds" / "{{.Group}}" / "{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
    command: list[str | Path] = [
        KUBECONFORM.path,
        "-strict",
        "-output",
        "json",
        "-kubernetes-version",
        version,
    ]
    command += ["-schema-location", own / kinds, "-schema-location", crds, rendered]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout)["resources"]
    return [f"{version} {each['filename']} {each['kind']}: {each['msg']}" for each in found]


def test_its_policies_have_no_finding_without_a_reason(
    rendered: Path, python_checkers: Path, tmp_path: Path
) -> None:
    exceptions = yaml.safe_load(Path(__file__).with_name("policies.yaml").read_text())
    found = findings(rendered, python_checkers, tmp_path)
    for excepted in exceptions:
        of_it = {
            finding
            for finding in found
            if finding[0] == excepted["check"] and re.fullmatch(excepted["of"], finding[1])
        }
        assert of_it, f"no finding needs the exception {excepted}"
        found -= of_it
    assert found == set()


def findings(rendered: Path, python: Path, directory: Path) -> set[tuple[str, str]]:
    """Return what checkov finds: policies, and the resources that do not follow them."""
    command: list[str | Path] = [
        python,
        "-m",
        "checkov.main",
        "--directory",
        rendered,
        "--framework",
        "kubernetes",
    ]
    command += ["--output", "json", "--compact", "--quiet", "--skip-download"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory)
    told = json.loads(done.stdout)
    assert told["summary"]["passed"] > 100, told
    failed = told["results"]["failed_checks"]
    return {(each["check_id"], each["resource"]) for each in failed}
