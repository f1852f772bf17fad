"""Elasticsearch with security on: TLS, a user, an API key with the few rights that are needed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import connect, send
from memgpt_proxy.stores.protocols import Store, StoreError, StoreUnavailable
from tests.conftest import missing_part
from tests.stores.build import ALICE, message, passage, record
from tests.support.elasticsearch import ElasticsearchNode, base_directory

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(180)]

USER = ("elastic", "test-only-secret")

# What serves where the indices are there; to make them takes the right to manage them.
RIGHTS = {
    "cluster": ["monitor"],
    "indices": [
        {
            "names": ["secure-*"],
            "privileges": ["read", "write", "view_index_metadata", "maintenance"],
        }
    ],
}


@pytest.fixture(scope="module")
def secure(elasticsearch_binaries: Path) -> Iterator[ElasticsearchNode]:
    """A node of its own with a certificate that it has signed itself."""
    if shutil.which("openssl") is None:
        missing_part("no openssl, which makes the certificate of these tests")
    settings = {
        "xpack.security.enabled": True,
        "xpack.security.http.ssl.enabled": True,
        "xpack.security.http.ssl.key": "http.key",
        "xpack.security.http.ssl.certificate": "http.crt",
    }
    with base_directory() as base:
        node = ElasticsearchNode(elasticsearch_binaries, base, settings=settings)
        make_certificate(node.configuration)
        node.give()
        keystore = ("keystore", "lib/tools/keystore-cli")
        node.tool(*keystore, "create")
        node.tool(*keystore, "add", "--stdin", "bootstrap.password", given=f"{USER[1]}\n")
        try:
            yield node.start().wait(auth=USER)
        finally:
            node.stop()


def make_certificate(directory: Path) -> None:
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
    ]
    command += ["-subj", "/CN=localhost", "-addext", names]
    command += ["-keyout", directory / "http.key", "-out", directory / "http.crt"]
    subprocess.run(command, check=True, capture_output=True)


def ca_of(node: ElasticsearchNode) -> Path:
    return node.configuration / "http.crt"


async def use(store: Store) -> None:
    """Do something of everything."""
    try:
        await store.open()
        await store.ping()
        await store.commit(ALICE, record(message("m0", "hello")))
        await store.insert_passages(ALICE, [passage("p", "tea")])
        assert (await store.search_messages(ALICE, "hello", limit=1, offset=0)).total == 1
    finally:
        await store.close()


async def test_a_user(secure: ElasticsearchNode) -> None:
    connection = Connection([secure.url], basic_auth=USER, ca_file=ca_of(secure))
    await use(ElasticsearchStore(connection, prefix="secure-user"))


async def test_an_api_key_with_few_rights(secure: ElasticsearchNode) -> None:
    manager = Connection([secure.url], basic_auth=USER, ca_file=ca_of(secure))
    await use(ElasticsearchStore(manager, prefix="secure-key"))
    client = connect(manager)
    asked = {"name": "gateway", "role_descriptors": {"gateway": RIGHTS}}
    key = await send(client, "POST", "/_security/api_key", asked)
    await client.close()
    connection = Connection([secure.url], api_key=key["encoded"], ca_file=ca_of(secure))
    await use(ElasticsearchStore(connection, prefix="secure-key"))
    elsewhere = ElasticsearchStore(connection, prefix="elsewhere")
    with pytest.raises(StoreError, match="403") as caught:
        await elsewhere.open()
    assert not isinstance(caught.value, StoreUnavailable)
    await elsewhere.close()


async def test_who_is_not_known_is_told(secure: ElasticsearchNode) -> None:
    for auth in (None, ("elastic", "wrong")):
        connection = Connection([secure.url], basic_auth=auth, ca_file=ca_of(secure))
        store = ElasticsearchStore(connection)
        with pytest.raises(StoreError, match="401") as caught:
            await store.open()
        assert "wrong" not in str(caught.value)
        await store.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(secure: ElasticsearchNode) -> None:
    store = ElasticsearchStore(Connection([secure.url], basic_auth=USER))
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        await store.open()
    await store.close()
