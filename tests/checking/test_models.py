"""The backend and the embedding model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from memgpt_proxy.backend import discovery
from memgpt_proxy.checking import models
from memgpt_proxy.checking.findings import Finding, Level
from memgpt_proxy.config import Settings
from tests.checking.servers import answering
from tests.support.process import free_port

KEY = "sk-not-to-be-shown"
LISTED = {"/v1/models": {"data": [{"id": "small"}, {"id": "large"}]}}


async def backend(url: str, **more: Any) -> Finding:
    [finding] = await models.backend(Settings.model_validate({"backend_url": url, **more}))
    assert KEY not in str(finding)
    return finding


async def embedding(**settings: Any) -> Finding:
    given = {"embedding_model": "embedder", **settings}
    [finding] = await models.embedding_model(Settings.model_validate(given))
    assert KEY not in str(finding)
    return finding


async def test_models_are_counted() -> None:
    with answering(LISTED) as url:
        finding = await backend(f"{url}/v1")
    assert finding.level is Level.OK
    assert "2 models, small first" in finding.said


async def test_no_models_may_mean_a_wrong_path() -> None:
    with answering(LISTED) as url:
        finding = await backend(f"{url}/v2")
    assert finding.level is Level.WARN


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("end", ["", "/"])
async def test_a_url_without_a_path_may_lack_its_v1(status: int, key: str | None, end: str) -> None:
    with answering({}, status) as url:
        finding = await backend(f"{url}{end}", backend_api_key=key)
        with_path = await backend(f"{url}/v1", backend_api_key=key)
    assert finding.level is not Level.OK
    assert f"did you mean {url}/v1?" in finding.said
    assert "did you mean" not in with_path.said


async def test_another_path_may_lack_it_where_nothing_is_found() -> None:
    with answering({}, 404) as url:
        assert f"did you mean {url}/api/v1?" in (await backend(f"{url}/api")).said
    with answering({}, 401) as url:
        assert (await backend(f"{url}/api")).level is Level.OK


@pytest.mark.parametrize(
    ("status", "key", "level"),
    [
        (401, None, Level.OK),
        (401, KEY, Level.FAIL),
        (403, KEY, Level.FAIL),
        (500, None, Level.FAIL),
        (404, None, Level.WARN),
    ],
)
async def test_a_refusal(status: int, key: str | None, level: Level) -> None:
    with answering({}, status) as url:
        assert (await backend(f"{url}/v1", backend_api_key=key)).level is level


async def test_nothing_listens() -> None:
    finding = await backend(f"http://user:{KEY}@127.0.0.1:{free_port()}/v1")
    assert finding.level is Level.FAIL
    assert "check backend_url" in finding.said


async def test_a_server_on_this_machine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "LOCAL_SERVERS", ())
    [finding] = await models.backend(Settings())
    assert finding.level is Level.WARN
    assert "demo" in finding.said
    with answering(LISTED) as url:
        server = discovery.LocalServer("Ollama", int(url.rpartition(":")[2]))
        monkeypatch.setattr(discovery, "LOCAL_SERVERS", (server,))
        [finding] = await models.backend(Settings())
    assert finding.level is Level.OK
    assert "Ollama" in finding.said


async def test_dimensions() -> None:
    answers = {"/v1/embeddings": {"data": [{"embedding": [0.0] * 384, "index": 0}]}}
    with answering(answers) as url:
        finding = await embedding(backend_url=f"{url}/v1")
        other = await embedding(backend_url="http://127.0.0.1:1", embedding_url=f"{url}/v1/")
    assert finding.level is other.level is Level.OK
    assert "384 dimensions" in finding.said


@pytest.mark.parametrize("answer", [{}, {"data": []}, {"data": [{"embedding": "text"}]}, []])
async def test_an_answer_without_an_embedding(answer: object) -> None:
    with answering({"/v1/embeddings": answer}) as url:
        assert (await embedding(backend_url=f"{url}/v1")).level is Level.FAIL


async def test_no_embedding_model_at_all() -> None:
    assert (await embedding()).level is Level.FAIL
    away = f"http://user:{KEY}@127.0.0.1:{free_port()}/v1"
    assert (await embedding(embedding_url=away, embedding_api_key=KEY)).level is Level.FAIL
    with answering({}, 404) as url:
        finding = await embedding(backend_url=f"{url}/v1", backend_api_key=KEY)
    assert finding.level is Level.FAIL
    assert "refuses embedder (404)" in finding.said


async def test_each_of_several_backends_is_told_of(tmp_path: Path) -> None:
    with answering(LISTED) as url, answering({}, 401) as asking:
        entries = [
            {"name": "good", "url": f"{url}/v1", "api_key": KEY},
            {"name": "away", "url": f"http://127.0.0.1:{free_port()}/v1"},
            {"name": "refuses", "url": f"{asking}/v1", "api_key": KEY},
            {"name": "keyless", "url": f"{asking}/v1"},
            {"name": "clients", "url": f"{asking}/v1", "pass_client_key": True},
        ]
        file = tmp_path / "backends.yaml"
        file.write_text(yaml.safe_dump({"backends": entries}))
        findings = await models.backend(Settings(backends_file=file))
    assert [(finding.part, finding.level) for finding in findings] == [
        ("backend good", Level.OK),
        ("backend away", Level.FAIL),
        ("backend refuses", Level.FAIL),
        ("backend keyless", Level.FAIL),
        ("backend clients", Level.OK),
    ]
    assert KEY not in "".join(map(str, findings))


async def test_a_file_of_backends_that_is_wrong(tmp_path: Path) -> None:
    [finding] = await models.backend(Settings(backends_file=tmp_path / "none.yaml"))
    assert finding.level is Level.FAIL
    assert "none.yaml" in finding.said
