"""Elasticsearch: every node that is named, the cluster behind them, and the gateway's indices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from elasticsearch import AsyncElasticsearch

from memgpt_proxy.api.authentication import secret_of
from memgpt_proxy.checking.findings import Finding, Level, fail, milliseconds, ok, told, warn
from memgpt_proxy.config import Settings
from memgpt_proxy.connections import elasticsearch_connection, without_credentials
from memgpt_proxy.stores.elasticsearch.client import (
    Connection,
    Refused,
    connect,
    send,
    server_version,
)
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS, Layout, Names, behind, version_of
from memgpt_proxy.stores.elasticsearch.secret import read_mark
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable
from memgpt_proxy.stores.secret_mark import mark

PART, CLUSTER, INDICES = "Elasticsearch", "cluster", "indices"

REQUEST_SECONDS = 3.0

CLOCK_SECONDS = 5.0
"""Difference of clocks that is told of; a node's answer may be a second old."""

LOW_DISK, FLOODED_DISK = 85, 95
"""Per cent of a disk from which Elasticsearch gives it no shards, and takes no writes there."""

_PRIVILEGES = ("read", "write", "manage")
"""On the indices; ``manage`` makes them with their aliases, and refreshes them."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A node that answers, and what the settings say of what is there.

    Attributes:
        client: For this node.
        names: Of the gateway's indices.
        known_user: The settings name a user or a key.
        mark: Of the secret that is set; None where none is.
    """

    client: AsyncElasticsearch
    names: Names
    known_user: bool
    mark: str | None


async def elasticsearch(settings: Settings) -> Sequence[Finding]:
    """Look at each node; where one answers as it should, at the cluster too."""
    connection = replace(
        elasticsearch_connection(settings), request_timeout=REQUEST_SECONDS, retries=0
    )
    nodes = await asyncio.gather(*(_node(connection, url) for url in connection.hosts))
    answering = [
        url
        for url, node in zip(connection.hosts, nodes, strict=True)
        if node.level is not Level.FAIL
    ]
    if not answering:
        return nodes
    known_user = bool(connection.api_key or connection.basic_auth)
    async with _connected(replace(connection, hosts=answering[:1])) as client:
        names = Names(settings.elasticsearch_prefix)
        cluster = Cluster(client, names, known_user, _mark_of(settings))
        found = await asyncio.gather(*(look(cluster) for look in LOOKS))
    return [*nodes, *(finding for findings in found for finding in findings)]


def _mark_of(settings: Settings) -> str | None:
    return None if settings.namespace_secret is None else mark(secret_of(settings))


@asynccontextmanager
async def _connected(connection: Connection) -> AsyncIterator[AsyncElasticsearch]:
    client = connect(connection)
    try:
        yield client
    finally:
        await client.close()


async def _node(connection: Connection, url: str) -> Finding:
    shown = without_credentials(url)
    try:
        async with _connected(replace(connection, hosts=[url])) as client:
            version = await server_version(client)
            began = time.perf_counter()
            await send(client, "GET", "/")
            took = milliseconds(time.perf_counter() - began)
    except Refused as error:
        return fail(PART, f"{shown}: {_refused(error)}")
    except StoreUnavailable as error:
        return fail(PART, f"{shown}: {told(error)}: {_advice(error)}")
    except StoreError as error:
        return fail(PART, f"{shown}: {told(error)}")
    return ok(PART, f"{shown}: version {version} ({took})")


def _advice(error: StoreUnavailable) -> str:
    if "TLS" in str(error):
        return (
            "check elasticsearch_ca_file, whether the URL's host is the certificate's, and whether "
            "the server speaks TLS at all, or http:// is meant"
        )
    return "is it running, and elasticsearch_url right?"


def _refused(error: Refused) -> str:
    if error.status == 401:
        return (
            "it does not know who asks (401): check elasticsearch_api_key, or"
            " elasticsearch_username and elasticsearch_password"
        )
    return told(error)


async def _health(cluster: Cluster) -> list[Finding]:
    health = await _asked(cluster, "/_cluster/health")
    if health is None:
        return []
    status, nodes = health["status"], health["number_of_nodes"]
    about = f"{health['cluster_name']}: {nodes} node{'s' if nodes > 1 else ''}, {status}"
    if status == "red":
        return [fail(CLUSTER, f"{about}: some data cannot be read; start the nodes that have it")]
    if status == "yellow":
        return [warn(CLUSTER, f"{about}: some data has no copy on another node")]
    return [ok(CLUSTER, about)]


async def _license(cluster: Cluster) -> list[Finding]:
    answer = await _asked(cluster, "/_license")
    about = (answer or {}).get("license", {})
    if about.get("status", "active") == "active":
        return []
    return [fail(CLUSTER, f"its {about.get('type')} license is {about['status']}: renew it")]


async def _disks(cluster: Cluster) -> list[Finding]:
    answer = await _asked(cluster, "/_cat/allocation?format=json&h=node,disk.percent")
    used = {each.get("node"): each.get("disk.percent") for each in answer or ()}
    full = {node: int(percent) for node, percent in used.items() if percent}
    low = [f"{node} {percent} %" for node, percent in full.items() if percent >= LOW_DISK]
    if not low:
        return []
    level = fail if max(full.values()) >= FLOODED_DISK else warn
    return [level(CLUSTER, f"disks are nearly full: {', '.join(low)}; make room")]


async def _clock(cluster: Cluster) -> list[Finding]:
    asked = "/_nodes/_local/stats/process?filter_path=nodes.*.timestamp"
    answer = await _asked(cluster, asked)
    stamps = [node["timestamp"] / 1000 for node in (answer or {}).get("nodes", {}).values()]
    ahead = stamps[0] - time.time() if stamps else 0.0
    if abs(ahead) < CLOCK_SECONDS:
        return []
    return [warn(CLUSTER, f"its clock is {ahead:+.0f} seconds off this machine's: use NTP on both")]


async def _privileges(cluster: Cluster) -> list[Finding]:
    if not cluster.known_user:
        return []
    pattern = f"{cluster.names.prefix}-*"
    wanted = {
        "cluster": ["monitor"],
        "index": [{"names": [pattern], "privileges": _PRIVILEGES}],
    }
    answer = await _asked(cluster, "/_security/user/_has_privileges", wanted) or {}
    on_indices = answer.get("index", {}).get(pattern, {})
    missing = [privilege for privilege, given in on_indices.items() if not given]
    missing += [
        f"{name} (cluster)" for name, given in answer.get("cluster", {}).items() if not given
    ]
    if not missing:
        return []
    return [fail(INDICES, f"who asks has no privilege {', '.join(missing)} for {pattern}")]


async def _indices(cluster: Cluster) -> list[Finding]:
    aliases = [cluster.names.alias(layout) for layout in LAYOUTS]
    try:
        indices = [await behind(cluster.client, alias) for alias in aliases]
    except StoreError as error:
        return [fail(INDICES, told(error))]
    if not any(indices):
        return [ok(INDICES, "none yet: they are made at the first start")]
    made = [
        (layout, version_of(index))
        for layout, index in zip(LAYOUTS, indices, strict=True)
        if index is not None
    ]
    missing = [alias for alias, index in zip(aliases, indices, strict=True) if index is None]
    closed = await _closed(cluster, [each for each in aliases if each not in missing])
    return [_versions(cluster, made, missing), *closed, *await _read_only(cluster)]


def _versions(
    cluster: Cluster, made: Sequence[tuple[Layout, int]], missing: Sequence[str]
) -> Finding:
    """Return what the versions of the indices say of the release that has made them."""
    older = [layout.name for layout, version in made if version < layout.version]
    newer = [layout.name for layout, version in made if version > layout.version]
    pattern = f"{cluster.names.prefix}-*"
    if newer:
        return fail(INDICES, f"{pattern}: a newer release has made {', '.join(newer)}")
    if older:
        return fail(
            INDICES, f"{pattern}: {', '.join(older)} of an older version: memgpt-proxy migrate"
        )
    if missing:
        return warn(INDICES, f"{', '.join(missing)} missing: made at the next start")
    named = ", ".join(f"{layout.name} v{version}" for layout, version in made)
    return ok(INDICES, f"{pattern}: {named}")


async def _closed(cluster: Cluster, aliases: Sequence[str]) -> list[Finding]:
    """Look for indices that somebody has closed: their health is green."""
    found = []
    for alias in aliases:
        try:
            await send(cluster.client, "GET", f"/{alias}/_search?size=0")
        except StoreError as error:
            if "index_closed_exception" in str(error):
                found.append(fail(INDICES, f"{alias} is closed, and away until somebody opens it"))
    return found


async def _read_only(cluster: Cluster) -> list[Finding]:
    aliases = ",".join(cluster.names.alias(layout) for layout in LAYOUTS)
    asked = f"/{aliases}/_settings/index.blocks.*?ignore_unavailable=true"
    answer = await _asked(cluster, asked)
    blocked = [index for index, about in (answer or {}).items() if about.get("settings")]
    if not blocked:
        return []
    return [
        fail(
            INDICES, f"{', '.join(sorted(blocked))} take no writes (index.blocks): is a disk full?"
        )
    ]


async def _secret(cluster: Cluster) -> list[Finding]:
    """Compare the secret with that which the indices were begun with."""
    try:
        begun = await read_mark(cluster.client, cluster.names)
    except StoreError:
        return []
    if cluster.mark is None or begun in (None, cluster.mark):
        return []
    return [
        fail(
            INDICES,
            f"{cluster.names.prefix}-* was begun with another namespace secret, and what was"
            " remembered with that is not found: set namespace_secret as it was",
        )
    ]


LOOKS: Sequence[Callable[[Cluster], Awaitable[list[Finding]]]] = (
    _health,
    _license,
    _disks,
    _clock,
    _privileges,
    _indices,
    _secret,
)


async def _asked(cluster: Cluster, path: str, body: object = None) -> Any:
    """Return an answer; None where it is not given to everyone, or not by every server."""
    method = "GET" if body is None else "POST"
    try:
        return await send(cluster.client, method, path, body)
    except StoreError:
        return None
