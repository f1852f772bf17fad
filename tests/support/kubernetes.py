"""A real Kubernetes cluster on loopback, without machines.

etcd, the API server, the controllers and the scheduler are the real ones. kwok plays the nodes:
pods that are scheduled run, are ready and, of jobs, complete, without a container being there.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.helm import Helm
from tests.support.kubernetes_build import (
    API_SERVER,
    CONTROLLERS,
    GATEWAY_API,
    KWOK,
    PROMETHEUS_OPERATOR,
    SCHEDULER,
    STAGES,
)
from tests.support.process import ServerProcess, clean_environment, free_port

ETCD = shutil.which("etcd")

TOKEN = "tests-only"
READY_SECONDS = 60.0
NODES = ("node-a", "node-b")

_MONITORING = PROMETHEUS_OPERATOR.path / "example" / "prometheus-operator-crd"
CRDS = (
    GATEWAY_API.path / "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    _MONITORING / "monitoring.coreos.com_prometheusrules.yaml",
    _MONITORING / "monitoring.coreos.com_servicemonitors.yaml",
)
"""Kinds that the chart makes and Kubernetes has not."""

_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
  - name: tests
    cluster: {{server: "https://127.0.0.1:{port}", insecure-skip-tls-verify: true}}
users:
  - name: tests
    user: {{token: {token}}}
contexts:
  - name: tests
    context: {{cluster: tests, user: tests}}
current-context: tests
"""

Answer = dict[str, Any]


class _Part(ServerProcess):
    """A process of the cluster, which is ready when its address answers as it should."""

    start_seconds = READY_SECONDS

    def __init__(
        self, command: list[str], port: int, path: str, log: Path, *, https: bool = True
    ) -> None:
        super().__init__(command, port, path, log, clean_environment())
        self._url = f"{'https' if https else 'http'}://127.0.0.1:{port}{path}"

    def is_ready(self) -> bool:
        try:
            with _open(self._url):
                return True
        except OSError:
            return False

    def stop(self) -> int | None:
        """End it at once: nothing that it holds is needed."""
        self.kill()
        return None


class Cluster:
    """Runs while its context is open.

    Args:
        directory: Where it keeps its files; empty.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.kubeconfig = directory / "kubeconfig"
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        with self._parts:
            self._write_files()
            for start in (self._etcd, self._api_server, self._controllers, self._scheduler):
                self._parts.enter_context(start())
            for number, node in enumerate(NODES):
                self.post("/api/v1/nodes", _node(node, number))
            self._parts.enter_context(self._kwok())
            self._install_crds()
            self._parts = self._parts.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._parts.close()

    def helm(self, home: Path) -> Helm:
        """Return Helm for this cluster."""
        return Helm(home, self.kubeconfig)

    def namespace(self, name: str) -> None:
        """Make a namespace that takes only pods of the restricted profile."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        self.wait(lambda: self.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"))

    def volume(self, name: str, size: str = "8Gi") -> None:
        """Make a volume of no class, for the next claim of none."""
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/nowhere/{name}"},
        }
        self.post("/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": spec})

    def get(self, path: str) -> Answer | None:
        """Return what is at a path of the API; None where nothing is."""
        try:
            with _open(f"https://127.0.0.1:{self.port}{path}") as answer:
                found: Answer = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise AssertionError(f"{path}: {error.read().decode()}") from error

    def names(self, path: str) -> list[str]:
        """Return the names of what is in a collection of the API."""
        found = self.get(path) or {"items": []}
        return sorted(each["metadata"]["name"] for each in found["items"])

    def post(self, path: str, made: Mapping[str, Any]) -> None:
        """Make something."""
        try:
            _open(f"https://127.0.0.1:{self.port}{path}", json.dumps(made).encode()).close()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()}") from error

    def delete(self, path: str, *, orphan: bool) -> None:
        """Delete something, with or without what belongs to it."""
        options = json.dumps({"propagationPolicy": "Orphan" if orphan else "Foreground"}).encode()
        _open(f"https://127.0.0.1:{self.port}{path}", options, "DELETE").close()

    def wait(self, condition: Callable[[], object], seconds: float = READY_SECONDS) -> None:
        """Wait until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.05)

    def _write_files(self) -> None:
        key = self.directory / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        made: list[str | Path] = [
            "openssl",
            "rsa",
            "-in",
            key,
            "-pubout",
            "-out",
            self.directory / "sa.pub",
        ]
        subprocess.run(made, check=True, capture_output=True)
        (self.directory / "tokens").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        self.kubeconfig.write_text(_KUBECONFIG.format(port=self.port, token=TOKEN))

    def _etcd(self) -> _Part:
        port, peers = free_port(), free_port()
        self._etcd_url = f"http://127.0.0.1:{port}"
        command = [
            ETCD or "etcd",
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-cluster=default=http://127.0.0.1:{peers}",
            "--unsafe-no-fsync",
        ]
        return _Part(command, port, "/health", self._log("etcd"), https=False)

    def _api_server(self) -> _Part:
        command = [
            str(API_SERVER.path),
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.directory}/certificates",
            f"--service-account-key-file={self.directory}/sa.pub",
            f"--service-account-signing-key-file={self.directory}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.directory}/tokens",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            # Clients then list and watch: etcd 3.4, Debian's, cannot serve both in one.
            "--feature-gates=WatchList=false",
        ]
        return _Part(command, self.port, "/readyz", self._log("api-server"))

    def _controllers(self) -> _Part:
        port = free_port()
        key = f"--service-account-private-key-file={self.directory}/sa.key"
        command = [str(CONTROLLERS.path), *self._component(port), key]
        return _Part(command, port, "/healthz", self._log("controllers"))

    def _scheduler(self) -> _Part:
        port = free_port()
        command = [str(SCHEDULER.path), *self._component(port)]
        return _Part(command, port, "/healthz", self._log("scheduler"))

    def _component(self, port: int) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig}",
            f"--authentication-kubeconfig={self.kubeconfig}",
            f"--authorization-kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--leader-elect=false",
            f"--cert-dir={self.directory}/certificates-{port}",
        ]

    def _kwok(self) -> _Part:
        port = free_port()
        stages = [
            STAGES.path / "kustomize/stage/node/fast/node-initialize.yaml",
            *sorted((STAGES.path / "kustomize/stage/node/heartbeat-with-lease").glob("*.yaml")),
            *sorted((STAGES.path / "kustomize/stage/pod/fast").glob("pod-*.yaml")),
        ]
        command = [
            str(KWOK.path),
            *(f"--config={stage}" for stage in stages if "kustomization" not in stage.name),
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--cidr=10.1.0.0/16",
            "--node-ip=10.1.0.1",
            "--node-lease-duration-seconds=40",
            f"--server-address=127.0.0.1:{port}",
        ]
        return _Part(command, port, "/healthz", self._log("kwok"), https=False)

    def _install_crds(self) -> None:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for crd in CRDS:
            self.post(path, yaml.safe_load(crd.read_text()))

    def _log(self, part: str) -> Path:
        return self.directory / f"{part}.log"


def _open(url: str, body: bytes | None = None, method: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method=method)
    context = ssl._create_unverified_context() if url.startswith("https") else None
    return urllib.request.urlopen(request, timeout=30, context=context)


def _node(name: str, number: int) -> Answer:
    room = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    labels = {
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "topology.kubernetes.io/zone": f"zone-{number}",
    }
    annotations = {"kwok.x-k8s.io/node": "fake"}
    return {
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "status": {"allocatable": room, "capacity": room},
    }
