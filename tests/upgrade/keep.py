"""Keeps what a checkout's gateway stores: ``python -m tests.upgrade.keep CHECKOUT FAMILY FILE``.

It was run with the code of the oldest commits whose stores this release reads; what it wrote lies
beside this file, and the tests here open it with the code of today.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.elasticsearch import ElasticsearchNode, base_directory
from tests.support.elasticsearch_build import elasticsearch_home
from tests.support.process import ServerProcess, clean_environment, free_port
from tests.upgrade.talk import SECRET, before


def gateway(checkout: Path, directory: Path, env: dict[str, str]) -> ServerProcess:
    """The gateway of another checkout, with the demo backend."""
    port = free_port()
    options = ["--port", str(port), "--data-dir", str(directory / "data")]
    return ServerProcess(
        [sys.executable, "-m", "memgpt_proxy", "serve", *options],
        port,
        "/readyz",
        directory / "gateway.log",
        clean_environment(PYTHONPATH=str(checkout), **env),
    )


def keep_sqlite(checkout: Path, file: Path) -> None:
    """Write the database, compressed."""
    with tempfile.TemporaryDirectory() as work:
        data = Path(work) / "data"
        data.mkdir()
        (data / "namespace.secret").write_bytes(bytes.fromhex(SECRET))
        (data / "namespace.secret").chmod(0o600)
        with gateway(checkout, Path(work), {}) as process:
            before(process.base_url)
        file.write_bytes(gzip.compress((data / "memory.db").read_bytes(), mtime=0))


def keep_elasticsearch(checkout: Path, file: Path) -> None:
    """Write the bodies of all indices, and all documents in them."""
    with (
        tempfile.TemporaryDirectory() as work,
        base_directory() as base,
        ElasticsearchNode(elasticsearch_home(), base) as node,
    ):
        env = {"MEMGPT_ELASTICSEARCH_URL": node.url, "MEMGPT_NAMESPACE_SECRET": SECRET}
        with gateway(checkout, Path(work), env) as process:
            before(process.base_url)
        file.write_text(json.dumps(exported(node.url), indent=1, sort_keys=True) + "\n")


def exported(url: str) -> dict[str, Any]:
    """Return indices by name: aliases, mappings, settings that were set, documents."""

    def ask(method: str, path: str) -> Any:
        asked = urllib.request.Request(url + path, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)

    ask("POST", "/memgpt-*/_refresh")
    told = {}
    for name, index in ask("GET", "/memgpt-*").items():
        settings = index["settings"]["index"]
        for made_by_server in ("creation_date", "provided_name", "uuid", "version", "routing"):
            settings.pop(made_by_server, None)
        hits = ask("GET", f"/{name}/_search?size=1000&version=true&sort=owner,id")["hits"]["hits"]
        kept = ("_id", "_routing", "_version", "_source")
        documents = [{field: hit[field] for field in kept} for hit in hits]
        told[name] = {**index, "settings": settings, "documents": documents}
    return told


if __name__ == "__main__":
    _, checkout, family, file = sys.argv
    keep = {"sqlite": keep_sqlite, "elasticsearch": keep_elasticsearch}[family]
    keep(Path(checkout), Path(file))
