"""The embedded store of a pod is backed up and restored as docs/deployment.md tells.

What runs inside the pod runs here, in the gateway's data directory.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from tests.chart.test_cluster import Release, case
from tests.conftest import StartGateway
from tests.docs.fenced import blocks
from tests.support.backend import ScriptedBackend
from tests.support.backup_recipe import commands, restoring_pod
from tests.support.helm import CASES, NAMESPACE, Helm, of_kind
from tests.support.kubernetes import Cluster
from tests.support.network_policies import Peer, allowed, matches
from tests.support.replies import text

NAME = "memory-memgpt-proxy"
POD = f"{NAME}-0"
STOPPED_BY = [
    ["scale", "statefulset", "memory-memgpt-proxy", "--replicas", "0"],
    ["wait", "--for=delete", f"pod/{POD}", "--timeout=15m"],
    ["apply", "-f", "restore.yaml"],
    ["wait", "--for=condition=Ready", "pod/memory-restore"],
]
STARTED_BY = [
    ["delete", "pod", "memory-restore"],
    ["scale", "statefulset", "memory-memgpt-proxy", "--replicas", "1"],
]


def carry_out(command: list[str], pod: str, data: Path, here: Path) -> None:
    """Carry out ``kubectl exec`` and ``kubectl cp`` where the pod's data directory is ``data``."""
    match command:
        case ["exec", name, "--", "python3", *arguments] if name == pod:
            subprocess.run([sys.executable, *arguments], cwd=data, check=True, timeout=30)
        case ["exec", name, "--", "rm", *arguments] if name == pod:
            subprocess.run(["rm", *arguments], cwd=data, check=True, timeout=30)
        case ["cp", source, target]:
            shutil.copyfile(place(source, pod, data, here), place(target, pod, data, here))
        case _:
            raise AssertionError(f"no rule covers {command}")


def place(name: str, pod: str, data: Path, here: Path) -> Path:
    inside, colon, path = name.partition(":")
    if not colon:
        return here / name
    assert inside == pod
    return data / path


def ask(base_url: str, key: str, words: str) -> None:
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": words}])


@pytest.mark.slow
def test_what_is_backed_up_while_the_gateway_runs_is_restored(
    start_gateway: StartGateway, backend: ScriptedBackend, api_key: str, tmp_path: Path
) -> None:
    backing, restoring = commands()
    running = start_gateway()
    backend.reply(text("Hello."))
    ask(running.base_url, api_key, "The parrot is called Flint.")
    for command in backing:
        carry_out(command, POD, running.data_dir, tmp_path)
    assert not (running.data_dir / "copy.db").exists()
    backend.reply(text("Hello."))
    ask(running.base_url, api_key, "This is said after the backup.")
    running.stop()

    assert restoring[:4] == STOPPED_BY
    assert restoring[-2:] == STARTED_BY
    # As a pod that was killed would leave it: with a log that the restored file does not go with.
    (running.data_dir / "memory.db-wal").write_bytes(b"not of this database")
    for command in restoring[4:-2]:
        carry_out(command, "memory-restore", running.data_dir, tmp_path)
    running.start()
    backend.reply(text("Hello."))
    ask(running.base_url, api_key, "Something else.")
    system = backend.requests[-1].body["messages"][0]["content"]
    assert "Recall storage holds 2 messages." in system


@pytest.mark.chart
def test_the_recipe_names_what_the_chart_makes(helm: Helm) -> None:
    [made] = of_kind(helm.manifests(CASES["embedded"]), "StatefulSet")
    assert f"{made['metadata']['name']}-0" == POD
    [claim] = made["spec"]["volumeClaimTemplates"]
    pod = restoring_pod()["spec"]
    [volume] = pod["volumes"]
    named = volume["persistentVolumeClaim"]["claimName"]
    assert named == f"{claim['metadata']['name']}-{POD}"
    of_the_chart = made["spec"]["template"]["spec"]
    [container], [own] = pod["containers"], of_the_chart["containers"]
    mounted = {each["name"]: each["mountPath"] for each in own["volumeMounts"]}
    [mount] = container["volumeMounts"]
    assert mount["mountPath"] == mounted["data"]
    assert pod["securityContext"].items() <= of_the_chart["securityContext"].items()
    assert container["securityContext"].items() <= own["securityContext"].items()


def pod_for_commands() -> dict[str, Any]:
    [found] = [block for block in blocks() if block.code.startswith("# commands.yaml")]
    return dict(yaml.safe_load(found.code))


@pytest.mark.chart
def test_the_pod_for_commands_is_as_a_gateway_is(helm: Helm) -> None:
    """It has its settings and its ways out, and is none of those that clients are led to."""
    manifests = helm.manifests(CASES["fleet"])
    [made] = of_kind(manifests, "Deployment")
    spec, pod = made["spec"]["template"]["spec"], pod_for_commands()
    [own], [container] = spec["containers"], pod["spec"]["containers"]
    assert container["envFrom"] == own["envFrom"]
    assert container["securityContext"].items() <= own["securityContext"].items()
    assert pod["spec"]["securityContext"].items() <= spec["securityContext"].items()
    mounted = {each["name"]: each["mountPath"] for each in own["volumeMounts"]}
    for mount in container["volumeMounts"]:
        assert mounted[mount["name"]] == mount["mountPath"]
    for volume in pod["spec"]["volumes"]:
        if volume["name"] != "data":
            assert volume in spec["volumes"]
    labels = pod["metadata"]["labels"]
    policies = [
        each for each in of_kind(manifests, "NetworkPolicy") if each["metadata"]["name"] == NAME
    ]
    peer = Peer(NAMESPACE, labels)
    assert allowed(policies, peer, Peer("search"), 9200)
    assert not allowed(policies, peer, Peer("elsewhere"), 22), "it is one of theirs"
    [service] = of_kind(manifests, "Service")
    assert not matches({"matchLabels": service["spec"]["selector"]}, labels)


@pytest.mark.chart
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_pod_for_commands_runs_beside_a_fleet(cluster: Cluster, tmp_path: Path) -> None:
    """Its namespace takes only pods of the restricted profile."""
    release = Release(cluster, tmp_path)
    release.make_secret("memgpt-secret")
    release.install(case("fleet"))
    cluster.post(f"/api/v1/namespaces/{release.namespace}/pods", pod_for_commands())
    cluster.wait(
        lambda: release.get("v1", "pods", "memory-commands")["status"]["phase"] == "Running"
    )


@pytest.mark.chart
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_pod_that_restores_runs_on_the_claim(cluster: Cluster, tmp_path: Path) -> None:
    """Its namespace takes only pods of the restricted profile."""
    release = Release(cluster, tmp_path)
    cluster.volume(f"{release.namespace}-1")
    release.install(case("embedded", embedded={"persistence": {"storageClassName": "-"}}))
    release.upgrade(
        case("embedded", replicas=0, embedded={"persistence": {"storageClassName": "-"}})
    )
    cluster.post(f"/api/v1/namespaces/{release.namespace}/pods", restoring_pod())
    cluster.wait(
        lambda: release.get("v1", "pods", "memory-restore")["status"]["phase"] == "Running"
    )
