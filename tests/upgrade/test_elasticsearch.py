"""Indices of the oldest version that is read: opened, asked, gone on with."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.gateway import GatewayProcess
from tests.upgrade.talk import SECRET, asked_afterwards, say

pytestmark = [pytest.mark.elasticsearch, pytest.mark.timeout(120)]

KEPT = Path(__file__).with_name("elasticsearch-1.json")


@dataclass(frozen=True, slots=True)
class Indices:
    """The kept indices on a server, under a prefix of the test's own."""

    url: str
    prefix: str

    def take_over(self, kept: dict[str, Any]) -> None:
        """Make all indices as they were, with their documents and the versions of these."""
        for name, index in kept.items():
            made = self._named(name)
            body = {
                "settings": index["settings"],
                "mappings": index["mappings"],
                "aliases": {self._named(alias): {} for alias in index["aliases"]},
            }
            self.ask("PUT", f"/{made}", json=body)
            lines: list[dict[str, Any]] = []
            for document in index["documents"]:
                about = {"_id": document["_id"], "version_type": "external"}
                about |= {key: document[f"_{key}"] for key in ("routing", "version")}
                lines += [{"index": about}, document["_source"]]
            sent = "".join(f"{json.dumps(line)}\n" for line in lines)
            kind = {"content-type": "application/x-ndjson"}
            if sent:
                done = self.ask("POST", f"/{made}/_bulk?refresh=true", content=sent, headers=kind)
                assert not done["errors"]

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = httpx.request(method, self.url + path, timeout=30, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def remove(self) -> None:
        for name in self.ask("GET", f"/{self.prefix}-*"):
            self.ask("DELETE", f"/{name}")

    def _named(self, name: str) -> str:
        return name.replace("memgpt", self.prefix, 1)


@pytest.fixture
def indices(elasticsearch: ElasticsearchNode) -> Iterator[Indices]:
    made = Indices(elasticsearch.url, f"upgrade_{uuid.uuid4().hex}")
    made.take_over(json.loads(KEPT.read_text()))
    yield made
    made.remove()


def gateway(indices: Indices, directory: Path) -> GatewayProcess:
    env = {
        "MEMGPT_NAMESPACE_SECRET": SECRET,
        "MEMGPT_ELASTICSEARCH_URL": indices.url,
        "MEMGPT_ELASTICSEARCH_PREFIX": indices.prefix,
    }
    return GatewayProcess(directory, None, env=env)


def test_the_memory_is_there_and_goes_on(indices: Indices, tmp_path: Path) -> None:
    with gateway(indices, tmp_path) as process:
        asked_afterwards(process.base_url)
        say(process.base_url, "My dog's name is Rex.")
        process.restart()
        assert "Rex" in say(process.base_url, "What is my dog's name?")
        asked_afterwards(process.base_url)


def test_an_older_gateway_refuses_a_newer_store_in_one_line(
    indices: Indices, tmp_path: Path
) -> None:
    layout = LAYOUTS[0]
    alias = f"{indices.prefix}-{layout.name}"
    newer = f"{alias}-v{layout.version + 2}"
    indices.ask("PUT", f"/{newer}", json={})
    moved = [
        {"remove": {"index": f"{alias}-v{layout.version}", "alias": alias}},
        {"add": {"index": newer, "alias": alias}},
    ]
    indices.ask("POST", "/_aliases", json={"actions": moved})
    process = gateway(indices, tmp_path)
    with pytest.raises(AssertionError):
        process.start()
    lines = process.log().splitlines()
    assert len(lines) == 1, lines
    assert "written by a newer release" in lines[0]
