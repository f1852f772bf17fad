"""The policies let through what the gateway needs, and nobody else to the bundled servers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.helm import CASES, NAMESPACE, RELEASE, Helm, Manifest, of_kind
from tests.support.network_policies import Peer, allowed

pytestmark = pytest.mark.chart

INTERNET = Peer(address="192.0.2.7")
DNS = Peer("kube-system", {"k8s-app": "kube-dns"})
PROMETHEUS = Peer("monitoring", {"app": "prometheus"})


def case(name: str, **more: Any) -> dict[str, Any]:
    return {**yaml.safe_load(CASES[name].read_text()), **more}


def pod_of(component: str) -> Peer:
    labels = {
        "app.kubernetes.io/name": "memgpt-proxy",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": component,
    }
    ports = {"gateway": {"http": 8484}, "elasticsearch": {"http": 9200}, "redis": {"redis": 6379}}
    return Peer(NAMESPACE, labels, ports=ports.get(component, {}))


GATEWAY, MIGRATION, TEST = map(pod_of, ("gateway", "migration", "test"))


def of_the_release(manifests: list[Manifest]) -> list[Manifest]:
    """Return the policies that stay, without those that a hook brings."""
    made = of_kind(manifests, "NetworkPolicy")
    return [each for each in made if "helm.sh/hook" not in each["metadata"].get("annotations", {})]


def test_a_fleet_reaches_what_it_needs(helm: Helm) -> None:
    policies = of_the_release(helm.manifests(CASES["fleet"]))
    for source in (GATEWAY, MIGRATION, TEST):
        assert allowed(policies, source, DNS, 53, "UDP")
        assert allowed(policies, source, DNS, 53, "TCP")
        assert allowed(policies, source, DNS, 5353, "UDP"), "of OpenShift"
        assert allowed(policies, source, INTERNET, 443), "the backend"
        assert allowed(policies, source, Peer("search"), 9200), "Elasticsearch"
        assert allowed(policies, source, Peer("cache"), 6379), "the Redis of the Secret"
        assert not allowed(policies, source, INTERNET, 22)
        assert not allowed(policies, source, Peer("elsewhere"), 5432)
    assert allowed(policies, TEST, GATEWAY, 8484)
    assert allowed(policies, PROMETHEUS, GATEWAY, 8484)
    assert not allowed(policies, PROMETHEUS, GATEWAY, 8000)


@pytest.mark.parametrize(
    "url", ["http://vllm.models/v1", "http://vllm.models.svc.cluster.local/v1"]
)
def test_a_service_may_have_another_port_than_its_pods(helm: Helm, url: str) -> None:
    policies = of_the_release(helm.manifests(case("fleet", backend={"url": url})))
    assert allowed(policies, GATEWAY, Peer("models"), 8000)
    assert not allowed(policies, GATEWAY, Peer("elsewhere"), 8000)
    assert not allowed(policies, GATEWAY, INTERNET, 8000)


def test_spans_are_sent(helm: Helm) -> None:
    endpoint = {
        "name": "OTEL_EXPORTER_OTLP_ENDPOINT",
        "value": "http://collector.observability:4318",
    }
    policies = of_the_release(helm.manifests(case("fleet", extraEnv=[endpoint])))
    assert allowed(policies, GATEWAY, Peer("observability"), 4318)


def test_several_backends_are_reached(helm: Helm) -> None:
    policies = of_the_release(helm.manifests(CASES["backends"]))
    assert allowed(policies, GATEWAY, INTERNET, 443)
    assert allowed(policies, GATEWAY, Peer("models"), 8000)


def test_who_may_come_in_is_what_is_said(helm: Helm) -> None:
    policies = of_the_release(helm.manifests(CASES["production"]))
    assert allowed(policies, PROMETHEUS, GATEWAY, 8484)
    assert allowed(policies, Peer("ingress-nginx"), GATEWAY, 8484)
    assert allowed(policies, TEST, GATEWAY, 8484), "`helm test`"
    assert not allowed(policies, Peer("elsewhere"), GATEWAY, 8484)
    assert not allowed(policies, Peer(NAMESPACE), GATEWAY, 8484)


def test_bundled_servers_are_reached_by_the_release_alone(helm: Helm) -> None:
    policies = of_the_release(helm.manifests(CASES["bundled"]))
    for server, port in (("elasticsearch", 9200), ("redis", 6379)):
        target = pod_of(server)
        for source in (GATEWAY, MIGRATION, TEST):
            assert allowed(policies, source, target, port)
        assert not allowed(policies, Peer(NAMESPACE), target, port)
        assert not allowed(policies, INTERNET, target, port)
        assert not allowed(policies, target, INTERNET, 443)


def test_a_migration_reaches_what_comes_with_the_upgrade(helm: Helm) -> None:
    """The hook runs before the upgrade: what the release had is in force still."""
    before = of_the_release(helm.manifests(CASES["embedded"]))
    manifests = helm.manifests(CASES["fleet"])
    assert not allowed(before, MIGRATION, Peer("search"), 9200)
    brought = [each for each in of_kind(manifests, "NetworkPolicy") if each not in before]
    hooks = [each for each in brought if each not in of_the_release(manifests)]
    assert allowed([*before, *hooks], MIGRATION, Peer("search"), 9200)
    assert allowed([*before, *hooks], MIGRATION, DNS, 53, "UDP")
    assert not allowed([*before, *hooks], GATEWAY, Peer("search"), 9200)
