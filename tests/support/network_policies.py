"""What NetworkPolicies let through, by the rules of Kubernetes' documentation.

A pod that no policy of a direction selects is open in that direction; else what any of them allows
is allowed. Peers and ports are those of pods: a Service's address is replaced before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod, or an address outside of the cluster.

    Attributes:
        ports: Named ports of the pod.
    """

    namespace: str = ""
    labels: Labels = field(default_factory=dict)
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)


def allowed(
    policies: Iterable[Mapping[str, Any]],
    source: Peer,
    target: Peer,
    port: int,
    protocol: str = "TCP",
) -> bool:
    """Return whether a connection comes through, on both ends."""
    known = list(policies)
    return all(
        _direction(known, which, own, peer, target, port, protocol)
        for which, own, peer in (("egress", source, target), ("ingress", target, source))
    )


def _direction(
    policies: list[Mapping[str, Any]],
    which: str,
    own: Peer,
    peer: Peer,
    target: Peer,
    port: int,
    protocol: str,
) -> bool:
    selecting = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == own.namespace
        and which.capitalize() in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], own.labels)
    ]
    peers = "to" if which == "egress" else "from"
    return not selecting or any(
        _has_port(rule.get("ports"), target, port, protocol)
        and _has_peer(rule.get(peers), own.namespace, peer)
        for spec in selecting
        for rule in spec.get(which, ())
    )


def matches(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Return whether a label selector selects these labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def _has_port(
    ports: list[Mapping[str, Any]] | None, target: Peer, port: int, protocol: str
) -> bool:
    return not ports or any(
        protocol == each.get("protocol", "TCP")
        and port == target.ports.get(str(each["port"]), each["port"])
        for each in ports
    )


def _has_peer(peers: list[Mapping[str, Any]] | None, namespace: str, peer: Peer) -> bool:
    return not peers or any(_is_peer(each, namespace, peer) for each in peers)


def _is_peer(rule: Mapping[str, Any], namespace: str, peer: Peer) -> bool:
    if "ipBlock" in rule:
        if not peer.address:
            return False
        return ipaddress.ip_address(peer.address) in ipaddress.ip_network(rule["ipBlock"]["cidr"])
    if not peer.namespace:
        return False
    if "namespaceSelector" in rule:
        of_namespace = {"kubernetes.io/metadata.name": peer.namespace}
        if not matches(rule["namespaceSelector"], of_namespace):
            return False
    elif peer.namespace != namespace:
        return False
    return matches(rule.get("podSelector", {}), peer.labels)
