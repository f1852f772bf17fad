"""``memgpt-proxy check``, as an operator runs it."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from memgpt_proxy import cli
from memgpt_proxy.checking.findings import Level
from memgpt_proxy.config import ENV_PREFIX, Settings
from tests.checking.servers import answering
from tests.conftest import StartGateway
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.process import free_port
from tests.support.redis_server import RedisServer

SECRET = "not-to-be-shown-anywhere"
ANSWERS = {
    "/v1/models": {"data": [{"id": "small"}]},
    "/v1/embeddings": {"data": [{"embedding": [0.5, 0.5]}]},
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(cli.main, ["check", *map(str, arguments)])
    assert SECRET not in result.output
    return result


def levels(result: Result) -> dict[str, list[str]]:
    """The levels that the parts have, in the order in which they are told."""
    found: dict[str, list[str]] = {}
    for line in result.stdout.splitlines()[:-1]:
        found.setdefault(line[6:22].strip(), []).append(line[:5].strip())
    return found


def test_an_embedded_gateway(tmp_path: Path) -> None:
    with answering(ANSWERS) as url:
        result = run("--backend-url", f"{url}/v1", "--data-dir", tmp_path / "data")
    assert result.exit_code == 0
    assert levels(result) == {
        "settings": ["ok"],
        "data directory": ["ok"],
        "namespace secret": ["ok"],
        "backend": ["ok"],
        "embedded store": ["ok"],
    }
    assert result.stdout.endswith("All is well.\n")
    assert not (tmp_path / "data").exists()


def test_beside_a_gateway_that_runs(start_gateway: StartGateway) -> None:
    running = start_gateway()
    with answering(ANSWERS) as url:
        result = run("--backend-url", f"{url}/v1", "--data-dir", running.data_dir)
    assert result.exit_code == 0, result.output
    assert running.is_ready()


@pytest.mark.redis
@pytest.mark.elasticsearch
def test_a_fleet(
    elasticsearch: ElasticsearchNode, redis_server: RedisServer, tmp_path: Path
) -> None:
    with answering(ANSWERS) as url:
        result = run(
            *("--backend-url", f"{url}/v1", "--data-dir", tmp_path / "data"),
            *("--elasticsearch-url", elasticsearch.url, "--namespace-secret", SECRET),
            *("--elasticsearch-prefix", f"none_{uuid4().hex}", "--redis-url", redis_server.url),
            *("--embedding-model", "embedder"),
        )
    assert result.exit_code == 0, result.output
    assert levels(result) == {
        "settings": ["ok"],
        "data directory": ["ok"],
        "namespace secret": ["ok"],
        "backend": ["ok"],
        "embedding model": ["ok"],
        "Elasticsearch": ["ok"],
        "cluster": ["ok"],
        "indices": ["ok"],
        "Redis": ["ok"],
    }
    assert "2 dimensions" in result.stdout


def test_nothing_is_there(tmp_path: Path) -> None:
    away = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    result = run(
        *("--backend-url", f"http://{away[0]}/v1", "--backend-api-key", SECRET),
        *("--elasticsearch-url", f"http://ann:{SECRET}@{away[1]}", "--namespace-secret", SECRET),
        *("--redis-url", f"redis://ann:{SECRET}@{away[2]}", "--data-dir", tmp_path),
        *("--embedding-model", "embedder", "--embedding-api-key", SECRET),
    )
    assert result.exit_code == 1
    failed = {part for part, found in levels(result).items() if Level.FAIL in found}
    assert failed == {"backend", "embedding model", "Elasticsearch", "Redis"}
    assert result.stdout.splitlines()[-1] == "4 failed, 0 to look at."


def test_a_variable_that_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMGPT_BAKEND_URL", SECRET)
    result = run("--data-dir", tmp_path / "data")
    assert "warn  settings         MEMGPT_BAKEND_URL: there is no such setting" in result.stdout


def test_wrong_settings() -> None:
    result = run("--port", "eighty", "--namespace-secret", SECRET)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: port: ")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_it_takes_every_setting(name: str) -> None:
    assert f"--{name.replace('_', '-')}" in run("--help").stdout
