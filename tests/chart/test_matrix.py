"""What holds of the chart whatever is set: a matrix of stores, and of what platforms ask for."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.support.helm import CASES, NAMESPACE, Helm, Manifest, of_kind
from tests.support.network_policies import matches

pytestmark = pytest.mark.chart

Values = dict[str, Any]

DATA, TMP = "/var/lib/memgpt-proxy", "/tmp"
OURS = "registry.example.org/mirror/"
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
OF_A_STATEFUL_SET = 52
"""Characters of its name: with a hash it becomes a label of its pods, which has 63."""
OF_OPERATORS = {"memgpt-secret", "elasticsearch-ca", "redis-ca", "vendor-key", "more"}
"""ConfigMaps and Secrets that the cases name, and the chart does not make."""

FLEET = yaml.safe_load(CASES["fleet"].read_text())

STORES: dict[str, Values] = {
    "embedded": {"backend": {"url": "http://ollama.models:11434/v1"}},
    "on the node": {
        "backend": {"demo": True},
        "embedded": {"persistence": {"enabled": False}},
    },
    "fleet": FLEET,
    "without Redis": {**FLEET, "replicas": 5, "journal": {"persistence": {"enabled": True}}},
    "one replica": {**FLEET, "replicas": 1, "redis": {"url": "redis://redis.cache"}},
    "bundled": yaml.safe_load(CASES["bundled"].read_text()),
}
SCALES = {"fleet", "without Redis", "bundled"}
"""Those for which an autoscaler is of use."""

PLATFORMS: dict[str, Values] = {
    "plain": {},
    "marked": {
        "commonLabels": {"team": "memory", "app.kubernetes.io/part-of": "assistants"},
        "commonAnnotations": {"reloader.stakater.com/auto": "true"},
        "podLabels": {"team": "of-pods"},
        "serviceMonitor": {"enabled": True, "labels": {"team": "of-monitors"}},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
        "ingress": {"enabled": True, "hosts": ["memory.example.org"]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
    },
    "elsewhere": {
        "global": {"imageRegistry": OURS, "imagePullSecrets": ["of-all"]},
        "imagePullSecrets": [{"name": "own"}],
        "nodeSelector": {"pool": "memory"},
        "tolerations": [{"key": "memory", "operator": "Exists"}],
        "priorityClassName": "important",
        "serviceAccount": {"create": False, "name": "memory"},
    },
    "IPv6": {
        "host": "::",
        "service": {"spec": {"ipFamilyPolicy": "PreferDualStack"}},
        "ingress": {"enabled": True, "hosts": ["memory.example.org"], "streaming": "alb"},
    },
    "OpenShift": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    "autoscaled": {"autoscaling": {"enabled": True, "activeStreams": {"enabled": True}}},
    "loose": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "migration": {"enabled": False},
        "draining": {"preStopSeconds": 0},
    },
    "long": {"nameOverride": "a-name-of-a-release-that-somebody-has-made-much-too-long"},
}

MATRIX = [
    pytest.param(store, platform, id=f"{store}, {platform}")
    for store, platform in itertools.product(STORES, PLATFORMS)
    if platform != "autoscaled" or store in SCALES
]


Render = Callable[[str, str], list[Manifest]]


@pytest.fixture(scope="module")
def render(helm: Helm) -> Render:
    """Renders a store on a platform, once."""
    return functools.cache(
        lambda store, platform: helm.manifests({**STORES[store], **PLATFORMS[platform]})
    )


@pytest.fixture
def manifests(render: Render, store: str, platform: str) -> list[Manifest]:
    return render(store, platform)


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Yield the names of what makes pods, with these pods' specs and labels."""
    for each in manifests:
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "Pod":
            yield name, each["spec"], each["metadata"]["labels"]
        elif "template" in each.get("spec", {}):
            template = each["spec"]["template"]
            yield name, template["spec"], template["metadata"]["labels"]


def annotations_of(manifest: Manifest) -> dict[str, str]:
    found: dict[str, str] = manifest["metadata"].get("annotations", {})
    return found


@pytest.mark.parametrize(("store", "platform"), MATRIX)
def test_names_and_labels_are_such_as_kubernetes_takes(manifests: list[Manifest]) -> None:
    named = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(named)) == len(named), "none is there twice"
    for kind, name in named:
        longest = OF_A_STATEFUL_SET if kind == "StatefulSet" else 63
        assert len(name) <= longest, name
    for each in manifests:
        assert each["metadata"]["namespace"] == NAMESPACE
    labelled = [each["metadata"]["labels"] for each in manifests]
    for labels in [*labelled, *(labels for _, _, labels in pods(manifests))]:
        for value in labels.values():
            assert LABEL.fullmatch(value), value


@pytest.mark.parametrize(("store", "platform"), MATRIX)
def test_each_selector_selects_its_own_pods(manifests: list[Manifest]) -> None:
    by_name = {name: labels for name, _, labels in pods(manifests)}
    for kind in ("Deployment", "StatefulSet"):
        for each in of_kind(manifests, kind):
            own = f"{kind} {each['metadata']['name']}"
            selector = each["spec"]["selector"]
            assert [n for n, labels in by_name.items() if matches(selector, labels)] == [own]
    for service in of_kind(manifests, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        [found] = [n for n, labels in by_name.items() if matches(selector, labels)]
        assert found.split()[1] == service["metadata"]["name"]
    for policy in of_kind(manifests, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        assert any(matches(selector, labels) for labels in by_name.values())
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]
        [found] = [n for n, labels in by_name.items() if matches(selector, labels)]
        assert found.split()[1] == budget["metadata"]["name"]


@pytest.mark.parametrize(("store", "platform"), MATRIX)
def test_what_pods_name_is_there(manifests: list[Manifest]) -> None:
    files = {each["metadata"]["name"] for each in manifests} | OF_OPERATORS
    claimed = {
        f"{each['kind']} {each['metadata']['name']}": each["spec"].get("volumeClaimTemplates", ())
        for each in of_kind(manifests, "StatefulSet")
    }
    for name, spec, _ in pods(manifests):
        volumes = {each["name"] for each in spec.get("volumes", ())}
        volumes |= {each["metadata"]["name"] for each in claimed.get(name, ())}
        for container in spec["containers"]:
            assert {each["name"] for each in container.get("volumeMounts", ())} <= volumes, name
            sources = [next(iter(each.values())) for each in container.get("envFrom", ())]
            assert {each["name"] for each in sources} <= files, name
        mapped = [
            each["configMap"]["name"] for each in spec.get("volumes", ()) if "configMap" in each
        ]
        assert set(mapped) <= files, name


@pytest.mark.parametrize(("store", "platform"), MATRIX)
def test_what_leads_to_the_gateway_finds_it(manifests: list[Manifest]) -> None:
    services = {
        each["metadata"]["name"]: each["spec"]["ports"] for each in of_kind(manifests, "Service")
    }
    for ingress in of_kind(manifests, "Ingress"):
        paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
        for backend in (path["backend"]["service"] for path in paths):
            assert backend["port"]["name"] in [each["name"] for each in services[backend["name"]]]
    for route in of_kind(manifests, "HTTPRoute"):
        for backend in route["spec"]["rules"][0]["backendRefs"]:
            assert backend["port"] in [each["port"] for each in services[backend["name"]]]


@pytest.mark.parametrize("store", sorted(SCALES))
@pytest.mark.parametrize("platform", ["autoscaled"])
def test_the_autoscaler_alone_says_how_many(manifests: list[Manifest]) -> None:
    [scaler] = of_kind(manifests, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    [scaled] = [
        each
        for each in of_kind(manifests, target["kind"])
        if each["metadata"]["name"] == target["name"]
    ]
    assert "replicas" not in scaled["spec"]
    assert [each["type"] for each in scaler["spec"]["metrics"]] == ["ContainerResource", "Pods"]


@pytest.mark.parametrize(("store", "platform"), MATRIX)
def test_every_pod_is_confined(manifests: list[Manifest]) -> None:
    """That its root is read-only, and that it can write where it has to."""
    for name, spec, labels in pods(manifests):
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            confined = container["securityContext"]
            assert confined["capabilities"] == {"drop": ["ALL"]}, name
            assert confined["allowPrivilegeEscalation"] is False, name
            if labels["app.kubernetes.io/component"] == "elasticsearch":
                continue  # its image writes beside its own files
            assert confined["readOnlyRootFilesystem"] is True, name
            mounted = {
                each["mountPath"]
                for each in container.get("volumeMounts", ())
                if not each.get("readOnly")
            }
            if container["name"] in {"gateway", "migrate", "check"}:
                assert mounted == {DATA, TMP}, name


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("platform", ["marked"])
def test_everything_is_marked_as_the_platform_wants(manifests: list[Manifest], store: str) -> None:
    kinds = {each["kind"] for each in manifests}
    assert {"Ingress", "HTTPRoute", "ServiceMonitor", "PrometheusRule", "ServiceAccount"} <= kinds
    for each in manifests:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "assistants", each["kind"]
        wanted = "of-monitors" if each["kind"] == "ServiceMonitor" else "memory"
        assert labels["team"] == wanted, each["kind"]
        assert annotations_of(each)["reloader.stakater.com/auto"] == "true", each["kind"]
        for claim in each.get("spec", {}).get("volumeClaimTemplates", ()):
            assert "team" not in claim["metadata"].get("labels", {}), "it cannot be changed"
    for _, _, labels in pods(manifests):
        gateway = labels["app.kubernetes.io/component"] == "gateway"
        assert labels["team"] == ("of-pods" if gateway else "memory")


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("platform", ["elsewhere"])
def test_every_pod_is_pulled_and_placed_alike(manifests: list[Manifest], store: str) -> None:
    for name, spec, labels in pods(manifests):
        for container in spec["containers"]:
            assert container["image"].startswith(OURS), name
        assert spec["imagePullSecrets"] == [{"name": "own"}, {"name": "of-all"}], name
        assert spec["nodeSelector"] == {"pool": "memory"}, name
        assert spec["tolerations"] == [{"key": "memory", "operator": "Exists"}], name
        if labels["app.kubernetes.io/component"] in {"gateway", "migration", "test"}:
            assert spec["serviceAccountName"] == "memory", name


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("platform", ["marked", "elsewhere", "IPv6", "OpenShift", "loose"])
def test_what_cannot_be_changed_of_a_stateful_set_is_not(
    render: Render, store: str, platform: str
) -> None:
    plain, other = (of_kind(render(store, each), "StatefulSet") for each in ("plain", platform))
    for before, after in zip(plain, other, strict=True):
        for field in ("volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy"):
            assert before["spec"].get(field) == after["spec"].get(field)
