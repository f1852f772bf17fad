"""The image, built by buildah from the Dockerfile and run as it says, twice alike."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy import __version__
from tests.conftest import missing_part
from tests.image.container import Container
from tests.support.image_build import (
    BASE,
    LOCKS,
    OFFLINE,
    ROOT,
    WHEELS,
    buildah,
    container,
    missing,
    wheels,
)

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]

USER = "65532:65532"
DATA = "/var/lib/memgpt-proxy"
SBOM = "opt/memgpt-proxy/sbom.cdx.json"
COMMITTED = "1700000000"
SOURCE = ("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml")


def checkout(directory: Path) -> Path:
    """Return a copy of what the image is built from, with times of its own."""
    copy = directory / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        ROOT / "memgpt_proxy", copy / "memgpt_proxy", ignore=ignored, copy_function=shutil.copy
    )
    (copy / "requirements").mkdir()
    for name in (*SOURCE, *(f"requirements/{lock.name}" for lock in LOCKS)):
        shutil.copy(ROOT / name, copy / name)
    return copy


def build(directory: Path, tag: str) -> str:
    """Build the image without a network, from a copy in a directory; return its tag."""
    configuration = directory / "pip.conf"
    configuration.write_text(OFFLINE)
    given = [f"--secret=id=pip.conf,src={configuration}", f"--volume={wheels()}:{WHEELS}:ro"]
    given += [f"--build-arg=BASE_IMAGE={BASE}", f"--build-arg=SOURCE_DATE_EPOCH={COMMITTED}"]
    buildah(
        "build-using-dockerfile", "--quiet", "--pull-never", "--format=docker", *given,
        f"--timestamp={COMMITTED}", f"--tag={tag}", checkout(directory),
    )  # fmt: skip
    return tag


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image's name in buildah's store."""
    if reason := missing():
        missing_part(reason)
    tag = f"localhost/memgpt-proxy-tested:{os.getpid()}"
    yield build(tmp_path_factory.mktemp("build"), tag)
    buildah("rmi", tag)


@pytest.fixture(scope="module")
def described(image: str) -> dict[str, Any]:
    """What the image's manifest says of it, as container engines read it."""
    told: dict[str, Any] = json.loads(buildah("inspect", "--type=image", image))["Docker"]
    return told


@pytest.fixture(scope="module")
def root(image: str) -> Iterator[Path]:
    """The directory that holds the image's files."""
    with container(image) as name:
        yield Path(buildah("mount", name))


@pytest.fixture
def run(root: Path, described: dict[str, Any], tmp_path: Path) -> Iterator[Container]:
    (tmp_path / "data").mkdir(mode=0o700)
    with Container(root, described["config"], tmp_path / "data", tmp_path / "log") as process:
        process.start()
        yield process


def test_it_tells_engines_how_to_run_it(described: dict[str, Any]) -> None:
    config = described["config"]
    assert config["User"] == USER
    assert config["Entrypoint"] == ["memgpt-proxy"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Volumes"] == {DATA: {}}
    assert config["ExposedPorts"] == {"8484/tcp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "-m", "memgpt_proxy.health"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0 AND MIT"


def test_a_fact_is_remembered_without_a_network_by_nobody_in_particular(run: Container) -> None:
    status = Path(f"/proc/{run.pid}/status").read_text()
    assert "\nUid:\t65532\t65532\t65532\t65532\n" in status
    assert "\nGid:\t65532\t65532\t65532\t65532\n" in status
    driver = str(Path(__file__).with_name("remembering.py"))
    said = run.from_outside(sys.executable, driver, "http://127.0.0.1:8484/v1")
    assert said.strip() == "Your name is Sam."
    assert "Traceback" not in run.log()


def test_it_stops_in_order_and_remembers(run: Container) -> None:
    driver = [sys.executable, str(Path(__file__).with_name("remembering.py"))]
    run.from_outside(*driver, "http://127.0.0.1:8484/v1")
    assert run.stop() == 0
    assert "Traceback" not in run.log()


def test_the_health_check_tells_whether_it_lives(run: Container) -> None:
    healthy = run.run(*run.health_check)
    assert (healthy.returncode, healthy.stdout, healthy.stderr) == (0, "", "")
    elsewhere = run.run("env", "MEMGPT_PORT=1", *run.health_check)
    assert elsewhere.returncode == 1
    assert "no answer at port 1" in elsewhere.stderr


@pytest.mark.parametrize("path", ["/", "/tmp", "/opt/memgpt-proxy", "/etc"])
def test_nothing_but_the_volume_is_written_to(run: Container, path: str) -> None:
    assert run.run("touch", f"{path}/written").returncode == 1
    assert run.run("touch", f"{DATA}/written").returncode == 0


def test_it_holds_what_it_needs_and_little_else(run: Container) -> None:
    count = (
        "from memgpt_proxy.memory.tokens import TokenCounter;"
        "print(TokenCounter('o200k_base').text('hello world'))"
    )
    certificates = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    assert run.run("python3", "-c", certificates).stdout == "True\n"
    assert run.run("memgpt-proxy", "--version").stdout == f"memgpt-proxy {__version__}\n"
    assert run.run("python3", "-m", "pip", "--version").returncode == 1
    assert run.run("python3", "-c", "import hatchling").returncode == 1
    assert run.run("python3", "-c", count).stdout == "2\n"


def test_it_serves_where_spans_are_asked_for_by_the_environment_alone(run: Container) -> None:
    asked = ["env", "MEMGPT_OTLP_TRACES=true", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"]
    made = (
        "from memgpt_proxy.app import create_app;"
        "from memgpt_proxy.config import Settings;"
        "print(create_app(Settings(), 'http://127.0.0.1:1/v1').exchanges.telemetry.spans)"
    )
    said = run.run(*asked, "python3", "-c", made)
    assert "OtlpSpans" in said.stdout, said.stderr


def test_it_lists_what_is_inside(root: Path) -> None:
    listed = json.loads((root / SBOM).read_text())
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["name"] == "memgpt-proxy"
    names = {part["name"]: part for part in listed["components"]}
    assert {"starlette", "uvicorn", "uvloop", "tiktoken", "redis"} <= names.keys()
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= names.keys()
    assert not {"pip", "hatchling", "cyclonedx-bom"} & names.keys()
    assert all(part["version"] for part in names.values())


@pytest.mark.timeout(300)
def test_the_same_source_makes_the_same_image(
    image: str, described: dict[str, Any], tmp_path: Path
) -> None:
    again = build(tmp_path, f"{image}-again")
    try:
        told = json.loads(buildah("inspect", "--type=image", again))["Docker"]
    finally:
        buildah("rmi", again)
    assert told["rootfs"]["diff_ids"] == described["rootfs"]["diff_ids"]
    ours, theirs = (each["config"] | {"Hostname": ""} for each in (told, described))
    assert ours == theirs, "but for the name that buildah gives its container"
