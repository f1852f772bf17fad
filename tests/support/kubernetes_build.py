"""Build what the chart is tested with, once: ``python -m tests.support.kubernetes_build``.

Helm and its checkers, and a real cluster without machines: API server, controllers, scheduler,
and kwok, which plays the nodes. They come as Go modules and cost a quarter of an hour of processor
time; etcd is the system's. Checkers in Python get an environment of their own. All of it lies in
``$XDG_CACHE_HOME/memgpt-proxy/kubernetes``, a file for each tool and version, so that a build
that was broken off goes on with the next tool.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.llama_build import cache_dir

LOCK = Path(__file__).parents[2] / "requirements" / "chart.txt"

KUBERNETES = "v1.34.4"
_KUBERNETES_MODULE = "k8s.io/kubernetes"
_STAGED = re.compile(r"^\s*(?:replace\s+)?(k8s\.io/[\w-]+) => \./staging/src/", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that is built from a Go module.

    Attributes:
        package: Of the module, that the program is.
        tags: Of what is built of it.
    """

    name: str
    module: str
    version: str
    package: str
    tags: str = ""

    @property
    def path(self) -> Path:
        """Where it lies once it is built."""
        return directory() / f"{self.name}-{self.version}"


@dataclass(frozen=True, slots=True)
class Source:
    """A Go module of which files are read."""

    name: str
    module: str
    version: str

    @property
    def path(self) -> Path:
        """Where its files lie."""
        return directory() / f"{self.name}-{self.version}"


HELM = Tool("helm", "helm.sh/helm/v3", "v3.22.0", "cmd/helm")
KUBECONFORM = Tool("kubeconform", "github.com/yannh/kubeconform", "v0.8.0", "cmd/kubeconform")
UNITTEST = Tool(
    "helm-unittest", "github.com/helm-unittest/helm-unittest", "v1.1.2", "cmd/helm-unittest"
)
PROMTOOL = Tool(
    "promtool",
    "github.com/prometheus/prometheus",
    "v0.316.0",  # of Prometheus 3.16.0
    "cmd/promtool",
    tags="remove_all_sd",  # without clients of clouds
)
KWOK = Tool("kwok", "sigs.k8s.io/kwok", "v0.8.0", "cmd/kwok")
API_SERVER, CONTROLLERS, SCHEDULER = (
    Tool(f"kube-{name}", _KUBERNETES_MODULE, KUBERNETES, f"cmd/kube-{name}")
    for name in ("apiserver", "controller-manager", "scheduler")
)
CLUSTER = (HELM, KWOK, API_SERVER, CONTROLLERS, SCHEDULER)
TOOLS = (*CLUSTER, KUBECONFORM, UNITTEST, PROMTOOL)

STAGES = Source("kwok-source", KWOK.module, KWOK.version)
GATEWAY_API = Source("gateway-api", "sigs.k8s.io/gateway-api", "v1.4.1")
PROMETHEUS_OPERATOR = Source(
    "prometheus-operator", "github.com/prometheus-operator/prometheus-operator", "v0.85.0"
)
SOURCES = {
    STAGES: ("kustomize/stage",),
    GATEWAY_API: ("config/crd/standard",),
    PROMETHEUS_OPERATOR: ("example/prometheus-operator-crd",),
}
"""The modules, and the folders of them that are kept."""


def directory() -> Path:
    """Where everything is kept between checkouts."""
    return cache_dir() / "kubernetes"


def checkers() -> Path:
    """The Python that has the locked checkers."""
    locked = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    return directory() / f"checkers-{locked}" / "bin" / "python"


def build() -> None:
    """Build and fetch what is missing."""
    if shutil.which("go") is None:
        raise SystemExit("What the chart is tested with is built with Go, and none is on the PATH")
    directory().mkdir(parents=True, exist_ok=True)
    with (directory() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be building
        _install_checkers()
        for source, kept in SOURCES.items():
            if not source.path.exists():
                _fetch(source, kept)
        for tool in TOOLS:
            if not tool.path.exists():
                sys.stderr.write(f"Building {tool.path} from source, this once …\n")
                _build(tool)


def _build(tool: Tool) -> None:
    with _finished(tool.path) as built, tempfile.TemporaryDirectory() as work:
        if tool.module == _KUBERNETES_MODULE:
            _kubernetes_module(Path(work))
            target, flags = f"{tool.module}/{tool.package}", ["-mod=mod"]
        else:
            # Not `go install`: it refuses modules that replace others.
            shutil.copytree(_downloaded(tool), work, dirs_exist_ok=True, copy_function=shutil.copy)
            target, flags = f"./{tool.package}", ["-tags", tool.tags]
        _go(tool, Path(work), "build", "-trimpath", *flags, *_linked(tool), "-o", built, target)


def _linked(tool: Tool) -> list[str]:
    if tool.module != _KUBERNETES_MODULE:
        return ["-ldflags=-s -w"]
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    told = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    given = " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in told.items())
    return [f"-ldflags=-s -w {given}"]


def _kubernetes_module(work: Path) -> None:
    """Write a module that builds Kubernetes, whose own replaces its parts by folders.

    Each part is published under the same version, with 0 for 1.
    """
    go_mod = (_downloaded(API_SERVER) / "go.mod").read_text()
    parts = sorted(set(_STAGED.findall(go_mod)))
    version = "v0" + KUBERNETES.removeprefix("v1")
    [go] = re.findall(r"^go \S+", go_mod, re.MULTILINE)
    lines = [
        "module local/kubernetes",
        go,
        f"require {_KUBERNETES_MODULE} {KUBERNETES}",
        *(f"replace {part} => {part} {version}" for part in parts),
    ]
    (work / "go.mod").write_text("\n".join(lines) + "\n")
    programs = (API_SERVER, CONTROLLERS, SCHEDULER)
    imports = "".join(f'import _ "{tool.module}/{tool.package}"\n' for tool in programs)
    (work / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\n{imports}")
    _go(API_SERVER, work, "mod", "tidy")


def _fetch(source: Source, kept: tuple[str, ...]) -> None:
    module = _downloaded(source)
    with _finished(source.path) as target:
        for folder in kept:
            copied = target / folder
            shutil.copytree(module / folder, copied, copy_function=shutil.copy)


def _downloaded(part: Tool | Source) -> Path:
    """Return the folder of a module's files; they cannot be written to."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", f"{part.module}@{part.version}"],
        check=True,
        capture_output=True,
        cwd=directory(),
    )
    return Path(json.loads(told.stdout)["Dir"])


def _go(tool: Tool, work: Path, *command: str | Path) -> None:
    for path in (work, *work.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    log = tool.path.with_name(f"{tool.path.name}.log")
    with log.open("ab") as output:
        done = subprocess.run(
            ["go", *command],
            cwd=work,
            # A work file names modules that are published apart.
            env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
            stdout=output,
            stderr=output,
        )
    if done.returncode != 0:
        raise SystemExit(f"{tool.name} was not built: see {log}")


def _install_checkers() -> None:
    python = checkers()
    if python.exists():
        return
    sys.stderr.write("Installing the chart's checkers, this once …\n")
    with _finished(python.parents[1]) as made:
        venv.create(made, with_pip=True)
        pip: list[str | Path] = [made / "bin" / "python", "-m", "pip", "install", "--quiet"]
        pip += [
            "--no-input",
            "--disable-pip-version-check",
            "--require-hashes",
            "--requirement",
            LOCK,
        ]
        subprocess.run(pip, check=True)


@contextmanager
def _finished(target: Path) -> Iterator[Path]:
    """Give a name to build under, which becomes ``target`` when that has come to its end."""
    made = target.with_name(f"{target.name}.part")
    if made.is_dir():
        shutil.rmtree(made)
    made.unlink(missing_ok=True)
    yield made
    made.rename(target)


if __name__ == "__main__":
    build()
