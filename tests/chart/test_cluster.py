"""The chart in a real cluster: installed, upgraded, rolled back, uninstalled.

Its namespaces enforce the restricted profile of pod security.
"""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart_schema import CHART
from tests.support.helm import CASES, Helm, HelmError
from tests.support.kubernetes import Cluster

pytestmark = [pytest.mark.chart, pytest.mark.slow, pytest.mark.timeout(120)]

RELEASE = "memory"
NAME = "memory-memgpt-proxy"
SECRET = "0123456789abcdef0123456789abcdef"

ALL_KINDS = {
    ("apps/v1", "deployments"),
    ("apps/v1", "statefulsets"),
    ("autoscaling/v2", "horizontalpodautoscalers"),
    ("batch/v1", "jobs"),
    ("gateway.networking.k8s.io/v1", "httproutes"),
    ("monitoring.coreos.com/v1", "prometheusrules"),
    ("monitoring.coreos.com/v1", "servicemonitors"),
    ("networking.k8s.io/v1", "ingresses"),
    ("networking.k8s.io/v1", "networkpolicies"),
    ("policy/v1", "poddisruptionbudgets"),
    ("v1", "configmaps"),
    ("v1", "persistentvolumeclaims"),
    ("v1", "pods"),
    ("v1", "secrets"),
    ("v1", "serviceaccounts"),
    ("v1", "services"),
}
PARTS_OF_A_MIGRATION = {
    ("batch/v1", "jobs"),
    ("networking.k8s.io/v1", "networkpolicies"),
    ("v1", "configmaps"),
    ("v1", "secrets"),
}


class Release:
    """A release in a namespace of its own.

    Args:
        home: Of Helm.
    """

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self.cluster = cluster
        self.namespace = f"test-{uuid.uuid4().hex[:8]}"
        self._helm: Helm = cluster.helm(home)
        self._values = home / "values.yaml"
        cluster.namespace(self.namespace)

    def install(self, values: dict[str, Any]) -> str:
        return self._with("install", values)

    def upgrade(self, values: dict[str, Any], *options: str) -> str:
        return self._with("upgrade", values, *options)

    def rollback(self, revision: int) -> None:
        self._run("rollback", RELEASE, str(revision), "--wait", "--timeout", "60s")

    def uninstall(self) -> None:
        self._run("uninstall", RELEASE, "--wait", "--timeout", "60s")

    def hooks(self) -> dict[str, str]:
        """Return how the hooks of the last revision have ended, by kind and name."""
        told = json.loads(self._run("status", RELEASE, "--output", "json"))
        return {
            f"{hook['kind']} {hook['name']}": hook["last_run"].get("phase", "")
            for hook in told["hooks"]
        }

    def get(self, group: str, kind: str, name: str = NAME) -> dict[str, Any]:
        found = self.cluster.get(f"{self._path(group)}/{kind}/{name}")
        assert found is not None, f"no {kind} {name}"
        return found

    def names(self, group: str, kind: str) -> list[str]:
        return self.cluster.names(f"{self._path(group)}/{kind}")

    def left(self) -> set[str]:
        """Return the kinds and names of all that there is, but for what namespaces always have."""
        return {
            f"{kind}/{name}"
            for group, kind in ALL_KINDS
            for name in self.names(group, kind)
            if name not in {"default", "kube-root-ca.crt"}
        }

    def serving(self) -> set[str]:
        """Return the pods that the Service leads to."""
        path = f"{self._path('discovery.k8s.io/v1')}/endpointslices"
        slices = (self.cluster.get(path) or {"items": []})["items"]
        return {
            endpoint["targetRef"]["name"]
            for each in slices
            for endpoint in each["endpoints"] or ()
            if endpoint["conditions"]["ready"]
        }

    def container(self, kind: str = "deployments") -> dict[str, Any]:
        spec = self.get("apps/v1", kind)["spec"]["template"]["spec"]
        container: dict[str, Any] = spec["containers"][0]
        return container

    def secret(self, name: str = NAME) -> str:
        data = self.get("v1", "secrets", name)["data"]
        return base64.b64decode(data["MEMGPT_NAMESPACE_SECRET"]).decode()

    def make_secret(self, name: str) -> None:
        made = {"metadata": {"name": name}, "stringData": {"MEMGPT_NAMESPACE_SECRET": SECRET}}
        self.cluster.post(f"{self._path('v1')}/secrets", made)

    def _with(self, command: str, values: dict[str, Any], *options: str) -> str:
        self._values.write_text(yaml.safe_dump(values))
        given: list[str | Path] = ["--values", self._values, "--wait", "--timeout", "60s"]
        return self._run(command, RELEASE, CHART, *given, *options)

    def _run(self, *command: str | Path) -> str:
        return self._helm.run(*command, "--namespace", self.namespace)

    def _path(self, group: str) -> str:
        return f"/{'api' if group == 'v1' else 'apis'}/{group}/namespaces/{self.namespace}"


@pytest.fixture
def release(cluster: Cluster, tmp_path: Path) -> Release:
    return Release(cluster, tmp_path)


def case(name: str, **more: Any) -> dict[str, Any]:
    return {**yaml.safe_load(CASES[name].read_text()), **more}


def test_a_fleet_is_installed_upgraded_rolled_back_and_uninstalled(release: Release) -> None:
    fleet = case("fleet", image={"tag": "1.0"})
    release.make_secret("memgpt-secret")
    notes = release.install(fleet)
    assert "memgpt-secret" in notes
    assert release.get("apps/v1", "deployments")["status"]["availableReplicas"] == 3
    assert set(release.hooks().values()) == {""}, "there is nothing to migrate at first"

    release.upgrade({**fleet, "image": {"tag": "2.0"}, "settings": {"max_steps": 20}})
    assert release.container()["image"] == "memgpt-proxy:2.0"
    assert release.get("v1", "configmaps")["data"]["MEMGPT_MAX_STEPS"] == "20"
    assert release.hooks()[f"Job {NAME}-migration"] == "Succeeded"
    assert release.names("batch/v1", "jobs") == [], "the migration cleans up behind itself"

    release.rollback(1)
    assert release.container()["image"] == "memgpt-proxy:1.0"
    assert "MEMGPT_MAX_STEPS" not in release.get("v1", "configmaps")["data"]
    assert release.get("apps/v1", "deployments")["status"]["availableReplicas"] == 3

    release.uninstall()
    assert release.names("apps/v1", "deployments") == []
    release.cluster.wait(lambda: release.left() == {"secrets/memgpt-secret"})
    assert release.secret("memgpt-secret") == SECRET


def test_memory_outlives_a_release_with_the_embedded_store(release: Release) -> None:
    release.cluster.volume(f"{release.namespace}-1")
    values = case("embedded")
    values["embedded"] = {"persistence": {"storageClassName": "-"}}
    release.install(values)
    [claim] = release.names("v1", "persistentvolumeclaims")
    volume = release.get("v1", "persistentvolumeclaims", claim)["spec"]["volumeName"]

    release.uninstall()
    assert release.names("apps/v1", "statefulsets") == []
    release.install(values)
    assert release.names("v1", "persistentvolumeclaims") == [claim]
    again = release.get("v1", "persistentvolumeclaims", claim)
    assert (again["spec"]["volumeName"], again["status"]["phase"]) == (volume, "Bound")


def test_the_secret_of_namespaces_stays(release: Release) -> None:
    values = case("fleet", existingSecret="", replicas=1, secrets={"namespace_secret": SECRET})
    release.install(values)
    release.upgrade({**values, "settings": {"max_steps": 20}})
    assert release.secret() == SECRET

    for other in ("another-secret-of-namespaces", None):
        with pytest.raises(HelmError, match=r"secrets\.namespace_secret|secret of namespaces"):
            release.upgrade({**values, "secrets": {"namespace_secret": other}})
    assert release.secret() == SECRET

    release.uninstall()
    assert release.secret() == SECRET
    with pytest.raises(HelmError, match="no key would find its memory"):
        release.install({**values, "secrets": {"namespace_secret": "another-secret-of-theirs"}})
    release.install(values)
    assert release.secret() == SECRET


def test_an_embedded_store_can_grow_into_a_fleet(release: Release) -> None:
    release.cluster.volume(f"{release.namespace}-1")
    embedded = case("embedded", embedded={"persistence": {"storageClassName": "-"}})
    release.install(embedded)
    release.make_secret("memgpt-secret")
    with pytest.raises(HelmError, match="would be deleted at once"):
        release.upgrade(case("fleet"))
    release.upgrade({**embedded, "replicas": 0})
    release.upgrade(case("fleet"))
    assert release.names("apps/v1", "statefulsets") == []
    assert release.get("apps/v1", "deployments")["status"]["availableReplicas"] == 3
    assert len(release.names("v1", "persistentvolumeclaims")) == 1, "what it remembers is there"


def everything() -> dict[str, Any]:
    """Return all that can be switched on, for two replicas with a volume each."""
    values = case("everything", priorityClassName="", affinity={})
    values["journal"] = {"persistence": {"enabled": True, "storageClassName": "-"}}
    values["autoscaling"]["minReplicas"] = 2
    return values


def test_the_cluster_takes_all_that_can_be_switched_on(release: Release) -> None:
    for number in range(2):
        release.cluster.volume(f"{release.namespace}-{number}")
    release.install(everything())
    unnamed = {"deployments", "jobs", "persistentvolumeclaims", "pods"}
    for group, kind in ALL_KINDS:
        assert kind in unnamed or "memory" in release.names(group, kind), kind
    release.upgrade(everything())


def test_the_bundled_servers_run(release: Release) -> None:
    release.cluster.volume(f"{release.namespace}-1")
    release.cluster.volume(f"{release.namespace}-2")
    values = case("bundled")
    for server in ("elasticsearch", "redis"):
        values["bundled"][server]["storageClassName"] = "-"
    notes = release.install(values)
    assert "Elasticsearch and Redis are for trying out" in notes
    assert release.names("apps/v1", "statefulsets") == [f"{NAME}-elasticsearch", f"{NAME}-redis"]


def test_a_migration_outlasts_the_patience_of_helm(release: Release) -> None:
    """What it needs is there for its next attempts, and goes with the release."""
    values = case("fleet", existingSecret="", replicas=1, secrets={"namespace_secret": SECRET})
    release.install(values)
    nowhere = {"nodeSelector": {"nowhere": "here"}}
    with pytest.raises(HelmError, match="pre-upgrade hooks failed"):
        release.upgrade({**values, **nowhere, "image": {"tag": "2.0"}}, "--timeout", "2s")
    assert release.container()["image"] == "memgpt-proxy:0.1.0", "gateways go on"
    for group, kind in PARTS_OF_A_MIGRATION:
        assert f"{NAME}-migration" in release.names(group, kind), kind
    assert release.get("batch/v1", "jobs", f"{NAME}-migration")["status"].get("failed") is None

    failing = {**nowhere, "migration": {"timeoutSeconds": 1}}
    with pytest.raises(HelmError, match="pre-upgrade hooks failed"):
        release.upgrade({**values, **failing, "image": {"tag": "2.0"}})
    [job] = release.names("batch/v1", "jobs")
    assert release.get("batch/v1", "jobs", job)["spec"]["ttlSecondsAfterFinished"] == 86400

    release.upgrade({**values, "image": {"tag": "2.0"}})
    assert release.container()["image"] == "memgpt-proxy:2.0"
    assert release.names("batch/v1", "jobs") == []
    release.uninstall()
    release.cluster.wait(lambda: release.left() == {f"secrets/{NAME}"})


def test_nothing_is_left_but_what_remembers(release: Release) -> None:
    """All that a release has made goes with it, but its pods of ``helm test``."""
    release.cluster.volume(f"{release.namespace}-1")
    values = everything()
    values["autoscaling"]["minReplicas"] = 1
    release.install(values)
    release.upgrade(values)
    release.uninstall()
    wanted = {"secrets/memory", "persistentvolumeclaims/data-memory-0"}
    release.cluster.wait(lambda: release.left() == wanted)


def test_the_autoscaler_takes_over(release: Release) -> None:
    release.make_secret("memgpt-secret")
    release.install(case("fleet", replicas=2))
    scaled = {**case("fleet"), "autoscaling": {"enabled": True, "minReplicas": 4}}
    del scaled["replicas"]
    release.upgrade(scaled)

    def replicas() -> int:
        found: int = release.get("apps/v1", "deployments")["spec"]["replicas"]
        return found

    release.cluster.wait(lambda: replicas() == 4)
    release.upgrade({**scaled, "settings": {"max_steps": 20}})
    assert replicas() == 4, "an upgrade does not say how many"
    release.rollback(2)
    assert replicas() == 4, "nor does going back"


def test_a_long_name_is_short_enough_for_all_that_is_made_of_it(release: Release) -> None:
    long = "a-name-of-a-release-that-somebody-has-made-much-too-long"
    for number in range(3):
        release.cluster.volume(f"{release.namespace}-{number}")
    values = case("bundled", nameOverride=long)
    for server in ("elasticsearch", "redis"):
        values["bundled"][server]["storageClassName"] = "-"
    release.install(values)
    assert len(release.names("apps/v1", "statefulsets")) == 2
    # A bundled Elasticsearch is there now, and is migrated.
    release.upgrade(values)
    assert {phase for name, phase in release.hooks().items() if "migration" in name} == {
        "Succeeded"
    }


def test_the_size_of_a_volume_is_changed_as_is_told(release: Release) -> None:
    """docs/deployment.md: the StatefulSet is made anew around its pod, which goes on."""
    release.cluster.volume(f"{release.namespace}-1")
    smaller = case("embedded", embedded={"persistence": {"storageClassName": "-"}})
    larger = case("embedded", embedded={"persistence": {"storageClassName": "-", "size": "16Gi"}})
    release.install(smaller)
    pod = release.get("v1", "pods", f"{NAME}-0")["metadata"]["uid"]
    with pytest.raises(HelmError, match="updates to statefulset spec"):
        release.upgrade(larger)
    path = f"/apis/apps/v1/namespaces/{release.namespace}/statefulsets/{NAME}"
    release.cluster.delete(path, orphan=True)
    release.cluster.wait(lambda: release.cluster.get(path) is None)
    release.upgrade(larger)
    assert release.get("v1", "pods", f"{NAME}-0")["metadata"]["uid"] == pod
    assert release.names("v1", "persistentvolumeclaims") == [f"data-{NAME}-0"]


def test_a_fleet_gets_volumes_for_its_journals_as_is_told(release: Release) -> None:
    """docs/deployment.md: the old replicas serve until the new ones do."""
    cluster, space = release.cluster, f"/apis/apps/v1/namespaces/{release.namespace}"
    for number in range(3):
        cluster.volume(f"{release.namespace}-{number}")
    release.make_secret("memgpt-secret")
    release.install(case("fleet"))
    before = release.serving()
    assert len(before) == 3

    kept = case("fleet", journal={"persistence": {"enabled": True, "storageClassName": "-"}})
    with pytest.raises(HelmError, match=f"delete deployment {NAME} --cascade=orphan"):
        release.upgrade(kept)
    assert release.serving() == before

    cluster.delete(f"{space}/deployments/{NAME}", orphan=True)
    cluster.wait(lambda: cluster.get(f"{space}/deployments/{NAME}") is None)
    release.upgrade(kept)
    both = release.serving()
    assert before < both
    assert both - before == {f"{NAME}-{number}" for number in range(3)}

    for replicas in release.names("apps/v1", "replicasets"):
        cluster.delete(f"{space}/replicasets/{replicas}", orphan=False)
    cluster.wait(lambda: release.serving() == both - before)
    release.upgrade(kept)
    assert release.serving() == both - before

    # And back.
    with pytest.raises(HelmError, match=f"delete statefulset {NAME} --cascade=orphan"):
        release.upgrade(case("fleet"))
    cluster.delete(f"{space}/statefulsets/{NAME}", orphan=True)
    cluster.wait(lambda: cluster.get(f"{space}/statefulsets/{NAME}") is None)
    release.upgrade(case("fleet"))
    assert both - before < release.serving()
    assert len(release.serving()) == 6
