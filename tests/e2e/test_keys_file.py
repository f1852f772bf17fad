"""Keys that an operator issues, as their users and the operator find them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from memgpt_proxy.api import issued_keys
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send
from tests.e2e.in_process import served
from tests.e2e.prompts import remember, system
from tests.e2e.test_logs import answered
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import until
from tests.support.replies import Gate, Usage, text, wait


def write(file: Path, **entries: dict[str, Any]) -> None:
    hashed = {
        name: {**entry, "sha256": [sha256(key.encode()).hexdigest() for key in entry["sha256"]]}
        for name, entry in entries.items()
    }
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump({"keys": hashed}))
    new.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def gateway(start_gateway: StartGateway, file: Path) -> GatewayProcess:
    write(file, ann={"sha256": ["sk-1", "sk-2"]}, bob={"sha256": ["sk-3"]})
    return start_gateway("--keys-file", str(file), "--backend-api-key", "sk-of-the-backend")


def test_a_key_is_replaced_and_the_memory_stays(
    backend: ScriptedBackend, gateway: GatewayProcess
) -> None:
    backend.reply(remember("Name is Ann"), send("Hi."), send("Ann."), send("Who?"))
    Person(gateway.base_url, "sk-1", "m").say("I am Ann")
    Person(gateway.base_url, "sk-2", "m").say("Who am I?")
    assert "Name is Ann" in system(backend.requests[-1])
    Person(gateway.base_url, "sk-3", "m").say("Who am I?")
    assert "Name is Ann" not in system(backend.requests[-1])
    sent = {request.headers["authorization"] for request in backend.requests}
    assert sent == {"Bearer sk-of-the-backend"}
    with pytest.raises(openai.AuthenticationError):
        Person(gateway.base_url, "sk-4", "m").say("Who am I?")


def test_the_operator_sees_what_each_name_uses(
    backend: ScriptedBackend, gateway: GatewayProcess
) -> None:
    backend.script(lambda _: send("Hi.").but(usage=Usage(100, 10)))
    for key in ("sk-1", "sk-2", "sk-3"):
        Person(gateway.base_url, key, "m").say("hello")
    told = httpx.get(f"{gateway.origin}/metrics").text.splitlines()
    assert {
        'memgpt_key_requests_total{key="ann"} 2.0',
        'memgpt_key_requests_total{key="bob"} 1.0',
        'memgpt_key_tokens_total{key="ann"} 220.0',
        'memgpt_key_tokens_total{key="bob"} 110.0',
    } <= set(told)
    line = answered(gateway, count=3)
    assert (line["key"], line["tokens"]) == ("bob", 110)
    assert not [key for key in ("sk-1", "sk-2", "sk-3") if key in gateway.log()]


def test_who_leaves_amid_a_reply_has_used_its_prompt(
    backend: ScriptedBackend, gateway: GatewayProcess
) -> None:
    """A client that always leaves before the end is not one that uses nothing."""
    backend.reply(text("Yes.").but(usage=Usage(1, 1)), text("Once upon ") + wait(Gate()))
    body = {"model": "m", "messages": [{"role": "user", "content": "tell me"}]}
    url, headers = f"{gateway.base_url}/chat/completions", {"authorization": "Bearer sk-1"}
    httpx.post(
        url, json=body, headers=headers
    )  # of a model that is not known yet, the answer is held back
    streamed = {**body, "stream": True}
    with httpx.stream("POST", url, json=streamed, headers=headers) as answer:
        next(answer.iter_bytes())
    line = answered(gateway, count=2)
    assert line["tokens"] > 100
    told = httpx.get(f"{gateway.origin}/metrics").text.splitlines()
    assert f'memgpt_key_tokens_total{{key="ann"}} {2 + line["tokens"]}.0' in told


def test_a_name_has_limits_of_its_own(
    backend: ScriptedBackend, start_gateway: StartGateway, file: Path
) -> None:
    write(
        file,
        ann={"sha256": ["sk-1", "sk-2"], "requests_per_minute": 2},
        bob={"sha256": ["sk-3"]},
    )
    gateway = start_gateway("--keys-file", str(file))
    backend.script(lambda _: send("Hi."))

    def status(key: str) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"authorization": f"Bearer {key}"}
        url = f"{gateway.base_url}/chat/completions"
        return httpx.post(url, json=body, headers=headers).status_code

    assert [status(key) for key in ("sk-1", "sk-2", "sk-1", "sk-2")] == [200, 200, 429, 429]
    assert [status("sk-3") for _ in range(4)] == [200] * 4


def test_a_key_is_withdrawn_and_another_issued_while_it_runs(
    backend: ScriptedBackend, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issued_keys, "LOOK_SECONDS", 0.01)
    write(file, ann={"sha256": ["sk-1"]})
    settings = Settings(data_dir=tmp_path / "data", keys_file=file)
    with served(create_app(settings, backend.base_url)) as origin:

        def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return httpx.get(f"{origin}/memgpt/working-context", headers=headers).status_code

        assert [status(key) for key in ("sk-1", "sk-2")] == [200, 401]
        write(file, ann={"sha256": ["sk-2"]})
        until(lambda: status("sk-2") == 200)
        assert status("sk-1") == 401


def test_who_has_a_key_that_is_withdrawn_hears_nothing_more(
    backend: ScriptedBackend, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory goes on with another key: who has found the old one is not to follow it."""
    monkeypatch.setattr(issued_keys, "LOOK_SECONDS", 0.01)
    write(file, ann={"sha256": ["sk-1"]})
    settings = Settings(data_dir=tmp_path / "data", keys_file=file)
    backend.script(lambda _: send("Hi."))
    with served(create_app(settings, backend.base_url)) as origin:
        old = {"authorization": "Bearer sk-1"}
        with httpx.stream("GET", f"{origin}/memgpt/events", headers=old) as events:
            lines = events.iter_lines()
            assert next(lines) == ": listening"
            Person(f"{origin}/v1", "sk-1", "m").say("one")
            assert "event: turn_ended" in lines
            write(file, ann={"sha256": ["sk-2"]})
            url = f"{origin}/memgpt/traces"
            until(lambda: httpx.get(url, headers=old).status_code == 401)
            Person(f"{origin}/v1", "sk-2", "m").say("two")
            assert [line for line in lines if line.startswith("event: ")] == []


@pytest.mark.parametrize("text", ["keys: {ann: {sha256: x}}", None])
def test_a_wrong_file_is_told_at_the_start(
    start_gateway: StartGateway, file: Path, text: str | None
) -> None:
    if text is not None:
        file.write_text(text)
    with pytest.raises(Exception, match="keys") as failed:
        start_gateway("--keys-file", str(file))
    assert str(file) in str(failed.value)
    assert json.dumps("Traceback") not in str(failed.value)
