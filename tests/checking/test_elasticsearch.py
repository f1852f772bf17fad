"""Elasticsearch: a real node, one with users and TLS, and servers that say what none here does."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from memgpt_proxy.api.authentication import secret_from
from memgpt_proxy.checking import elasticsearch as checking
from memgpt_proxy.checking.findings import Finding, Level
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import connect, send
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS
from memgpt_proxy.stores.secret_mark import mark
from tests.checking.servers import answering
from tests.support.elasticsearch import ElasticsearchNode, base_directory
from tests.support.process import free_port

PASSWORD = "not-to-be-shown"
SECRET = {"namespace_secret": "of sixteen characters"}


async def looked(url: str, **more: Any) -> list[Finding]:
    settings = Settings.model_validate({"elasticsearch_url": url, **SECRET, **more})
    found = list(await checking.elasticsearch(settings))
    assert not any(PASSWORD in str(finding) for finding in found)
    return found


def said(found: list[Finding], part: str) -> list[tuple[Level, str]]:
    return [(finding.level, finding.said) for finding in found if finding.part == part]


@pytest.fixture
async def prefix(elasticsearch: ElasticsearchNode) -> AsyncIterator[str]:
    made = f"check_{uuid4().hex[:8]}"
    yield made
    client = connect(Connection([elasticsearch.url]))
    for layout in LAYOUTS:
        await send(client, "DELETE", f"/{made}-{layout.name}-v1?ignore_unavailable=true")
    await client.close()


@pytest.mark.elasticsearch
async def test_a_node_before_and_after_the_first_start(
    elasticsearch: ElasticsearchNode, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await looked(elasticsearch.url, elasticsearch_prefix=prefix)
    assert {finding.level for finding in found} == {Level.OK}
    [(_, about)] = said(found, "indices")
    assert "made at the first start" in about
    store = ElasticsearchStore(Connection([elasticsearch.url]), prefix=prefix)
    await store.open()
    await store.close()
    found = await looked(elasticsearch.url, elasticsearch_prefix=prefix)
    assert {finding.level for finding in found} == {Level.OK}
    [(_, about)] = said(found, "indices")
    assert all(f"{layout.name} v{layout.version}" in about for layout in LAYOUTS)
    [(_, about)] = said(found, "cluster")
    assert "1 node, green" in about
    for change, told in ((1, "memgpt-proxy migrate"), (-1, "a newer release")):
        others = tuple(replace(each, version=each.version + change) for each in LAYOUTS)
        monkeypatch.setattr(checking, "LAYOUTS", others)
        found = await looked(elasticsearch.url, elasticsearch_prefix=prefix)
        [(level, about)] = said(found, "indices")
        assert level is Level.FAIL
        assert told in about


@pytest.mark.elasticsearch
async def test_indices_that_take_no_writes(elasticsearch: ElasticsearchNode, prefix: str) -> None:
    connection = Connection([elasticsearch.url])
    store = ElasticsearchStore(connection, prefix=prefix)
    await store.open()
    await store.close()
    client = connect(connection)
    block = {"index.blocks.read_only_allow_delete": True}
    await send(client, "PUT", f"/{prefix}-passages/_settings", block)
    found = await looked(elasticsearch.url, elasticsearch_prefix=prefix)
    levels = [level for level, _ in said(found, "indices")]
    assert levels == [Level.OK, Level.FAIL]
    await send(client, "DELETE", f"/{prefix}-transcript-v1")
    await client.close()
    found = await looked(elasticsearch.url, elasticsearch_prefix=prefix)
    (level, about), _ = said(found, "indices")
    assert level is Level.WARN
    assert f"{prefix}-transcript missing" in about


@pytest.mark.elasticsearch
async def test_an_index_that_is_closed(elasticsearch: ElasticsearchNode, prefix: str) -> None:
    connection = Connection([elasticsearch.url])
    store = ElasticsearchStore(connection, prefix=prefix)
    await store.open()
    await store.close()
    client = connect(connection)
    await send(client, "POST", f"/{prefix}-passages-v1/_close")
    found = await looked(elasticsearch.url, elasticsearch_prefix=prefix)
    [(level, about)] = [each for each in said(found, "indices") if each[0] is not Level.OK]
    assert level is Level.FAIL
    assert f"{prefix}-passages is closed" in about
    await send(client, "POST", f"/{prefix}-passages-v1/_open")
    await client.close()


@pytest.mark.elasticsearch
async def test_indices_that_were_begun_with_another_secret(
    elasticsearch: ElasticsearchNode, prefix: str
) -> None:
    store = ElasticsearchStore(Connection([elasticsearch.url]), prefix=prefix)
    store.expect(mark(secret_from(SECRET["namespace_secret"])))
    await store.open()
    await store.close()
    found = await looked(elasticsearch.url, elasticsearch_prefix=prefix)
    assert {finding.level for finding in found} == {Level.OK}
    other = "of sixteen others too"
    found = await looked(elasticsearch.url, elasticsearch_prefix=prefix, namespace_secret=other)
    [(level, about)] = [each for each in said(found, "indices") if "secret" in each[1]]
    assert level is Level.FAIL
    assert f"{prefix}-* was begun with another namespace secret" in about
    assert not any(other in str(finding) for finding in found)


@pytest.mark.elasticsearch
async def test_one_node_of_two_is_away(elasticsearch: ElasticsearchNode, prefix: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    found = await looked(f"{away},{elasticsearch.url}", elasticsearch_prefix=prefix)
    levels = [level for level, _ in said(found, "Elasticsearch")]
    assert levels == [Level.FAIL, Level.OK]
    assert len(said(found, "cluster")) == 1


async def test_nothing_listens() -> None:
    [finding] = await looked(f"http://ann:{PASSWORD}@127.0.0.1:{free_port()}")
    assert finding.level is Level.FAIL


async def test_tls_with_a_server_that_speaks_none() -> None:
    with answering({}) as url:
        [finding] = await looked(url.replace("http:", "https:"))
    assert finding.level is Level.FAIL
    assert "whether the server speaks TLS at all, or http:// is meant" in finding.said


@pytest.mark.parametrize("version", ["7.17.28", "10.0.0", "?"])
async def test_another_version_is_refused_in_one_line(version: str) -> None:
    with answering({"/": {"version": {"number": version}}}) as url:
        [finding] = await looked(url)
    assert finding.level is Level.FAIL
    assert f"the server is version {version}: Elasticsearch 8 or 9 is needed" in finding.said


async def test_another_product() -> None:
    with answering({"/": {"version": {"number": "8.1.0"}}}, headers={}) as url:
        [finding] = await looked(url)
    assert finding.level is Level.FAIL
    assert "is not Elasticsearch" in finding.said


HEALTHY = {"status": "green", "number_of_nodes": 3, "cluster_name": "memgpt"}
ALLOCATION = "/_cat/allocation?format=json&h=node,disk.percent"


@pytest.mark.parametrize(
    ("answers", "level", "told"),
    [
        ({"/_cluster/health": {**HEALTHY, "status": "red"}}, Level.FAIL, "cannot be read"),
        ({"/_cluster/health": {**HEALTHY, "status": "yellow"}}, Level.WARN, "no copy"),
        ({"/_license": {"license": {"status": "expired", "type": "gold"}}}, Level.FAIL, "gold"),
        ({ALLOCATION: [{"node": "n1", "disk.percent": "86"}]}, Level.WARN, "n1 86 %"),
        (
            {
                ALLOCATION: [
                    {"node": "n1", "disk.percent": "97"},
                    {"node": "UNASSIGNED", "disk.percent": None},
                ]
            },
            Level.FAIL,
            "n1 97 %",
        ),
        (
            {
                "/_nodes/_local/stats/process?filter_path=nodes.*.timestamp": {
                    "nodes": {"a": {"timestamp": 1_000_000_000_000}}
                }
            },
            Level.WARN,
            "NTP",
        ),
    ],
)
async def test_what_a_cluster_may_suffer_from(
    answers: dict[str, Any], level: Level, told: str
) -> None:
    healthy = {"/": {"version": {"number": "9.1.0"}}, "/_cluster/health": HEALTHY}
    with answering({**healthy, **answers}) as url:
        found = await looked(url)
    suffering = [finding for finding in found if told in finding.said]
    assert [finding.level for finding in suffering] == [level]
    others = [finding for finding in said(found, "cluster") if told not in finding[1]]
    assert all(level is Level.OK for level, _ in others)


def _ask(node: ElasticsearchNode, path: str, body: object, ca_file: Path) -> Any:
    """Ask as the superuser."""

    token = base64.b64encode(f"elastic:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(node.url + path, data, headers, method="POST")
    context = ssl.create_default_context(cafile=str(ca_file))
    with urllib.request.urlopen(request, context=context) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def secure(elasticsearch_binaries: Path) -> Iterator[tuple[ElasticsearchNode, Path]]:
    """A node with users and TLS, and the certificate that it is checked against."""
    tls = "xpack.security.http.ssl"
    settings = {
        "xpack.security.enabled": True,
        f"{tls}.enabled": True,
        f"{tls}.key": "http.key",
        f"{tls}.certificate": "http.crt",
    }
    with base_directory() as base:
        node = ElasticsearchNode(elasticsearch_binaries, base, settings=settings)
        made = node.configuration / "http.crt"
        arguments = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=elasticsearch -addext"
        subprocess.run(
            [
                *["openssl", *arguments.split(), "subjectAltName=IP:127.0.0.1"],
                *["-keyout", str(node.configuration / "http.key"), "-out", str(made)],
            ],
            check=True,
            capture_output=True,
        )
        node.give()
        keystore = ("keystore", "lib/tools/keystore-cli")
        node.tool(*keystore, "create")
        node.tool(*keystore, "add", "--stdin", "bootstrap.password", given=f"{PASSWORD}\n")
        node.start().wait(auth=("elastic", PASSWORD))
        yield node, made
        node.stop()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.elasticsearch
async def test_users_keys_and_certificates(secure: tuple[ElasticsearchNode, Path]) -> None:
    node, ca_file = secure
    trusted = {"elasticsearch_ca_file": ca_file}

    def user(name: str, password: str) -> dict[str, Any]:
        return {"elasticsearch_username": name, "elasticsearch_password": password, **trusted}

    found = await looked(node.url, **user("elastic", PASSWORD))
    assert {finding.level for finding in found} == {Level.OK}, found
    for who in (user("elastic", f"{PASSWORD}x"), trusted):
        [finding] = await looked(node.url, **who)
        assert finding.level is Level.FAIL
        assert "check elasticsearch_api_key, or" in finding.said
    [finding] = await looked(node.url, elasticsearch_api_key="bm8ga2V5OmF0IGFsbA==", **trusted)
    assert "check elasticsearch_api_key, or" in finding.said
    [finding] = await looked(node.url)
    assert finding.level is Level.FAIL
    assert "check elasticsearch_ca_file" in finding.said
    reads = {"names": ["memgpt-*"], "privileges": ["read"]}
    role = {"r": {"cluster": ["monitor"], "indices": [reads]}}
    key = _ask(node, "/_security/api_key", {"name": "k", "role_descriptors": role}, ca_file)
    found = await looked(node.url, elasticsearch_api_key=key["encoded"], **trusted)
    failed = [about for level, about in said(found, "indices") if level is Level.FAIL]
    assert "privilege" in failed[0]
    assert key["encoded"] not in str(found)
