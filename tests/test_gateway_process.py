"""The gateway as a process: ready when started, gone when ended, then back at the same address."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest

from memgpt_proxy.health import why_unhealthy
from tests.checking.servers import answering
from tests.support.backend import ScriptedBackend
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.gateway import GatewayProcess
from tests.support.listener import introduce, listening
from tests.support.process import free_port, until
from tests.support.redis_server import RedisServer
from tests.support.replies import Gate, text, wait

pytestmark = pytest.mark.slow  # a process, or several, for each test


def test_it_serves_until_it_is_stopped(backend: ScriptedBackend, start_gateway):
    gateway = start_gateway()
    assert httpx.get(f"{gateway.origin}/healthz").status_code == 200
    assert gateway.base_url in gateway.log()
    assert f"{gateway.origin}/memgpt/ (a page for your browser)" in gateway.log()
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{gateway.origin}/healthz")


def test_it_listens_to_both_families_of_addresses(start_gateway):
    """What clusters with IPv6 set; a container's health check goes on asking 127.0.0.1."""
    gateway = start_gateway("--host", "::")
    for address in ("[::1]", "127.0.0.1"):
        assert httpx.get(f"http://{address}:{gateway.port}/readyz").status_code == 200
    assert why_unhealthy(gateway.port) is None


def test_a_stop_is_told_of_where_nothing_is_running_too(start_gateway):
    gateway = start_gateway("--log-format", "text")
    assert gateway.stop() == 0
    told = gateway.log().splitlines()[-2:]
    assert [line.partition(": ")[2] for line in told] == [
        "Stopping: no reply is running.",
        "Stopped.",
    ]


def test_a_store_that_is_away_at_the_start_is_told_of(start_gateway):
    nowhere = f"http://127.0.0.1:{free_port()}"
    away = {"MEMGPT_ELASTICSEARCH_URL": nowhere, "MEMGPT_NAMESPACE_SECRET": "of sixteen characters"}
    gateway = start_gateway(env=away)
    told = gateway.log()
    address = nowhere.removeprefix("http://")
    assert f"Memory is kept in Elasticsearch ({address}), one namespace" in told
    assert "It is away, or has not got all that waits for it" in told
    here = start_gateway()
    assert "Memory is kept in " in here.log()
    assert "It is away" not in here.log()


def test_it_comes_back_at_the_same_address_after_a_kill(start_gateway):
    gateway: GatewayProcess = start_gateway()
    first = gateway.pid
    gateway.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    gateway.start()
    assert gateway.pid != first
    assert httpx.get(f"{gateway.origin}/readyz").status_code == 200
    assert gateway.data_dir.is_dir()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_a_running_reply_is_finished_when_it_is_stopped(
    backend: ScriptedBackend, start_gateway, signum: signal.Signals
):
    gateway = start_gateway("--reply-mode", "content")
    introduce(backend, gateway)
    gate = Gate()
    backend.reply(text("Once upon ") + wait(gate) + text("a time."))
    listener = listening(gateway)
    os.kill(gateway.pid, signum)
    gateway.wait_for_log("Stopping: running replies have 600 s to finish.")
    gate.open()
    listener.join(10)
    assert (listener.heard, listener.error) == ("Once upon a time.", None)
    assert gateway.stop() == 0
    assert '"message":"Stopped."' in gateway.log().splitlines()[-1]
    assert "Traceback" not in gateway.log()


def test_a_second_signal_ends_replies_and_keeps_what_was_said(
    backend: ScriptedBackend, start_gateway
):
    gateway = start_gateway("--reply-mode", "content")
    introduce(backend, gateway)
    backend.reply(text("Once upon ") + wait(Gate()))
    listener = listening(gateway)
    os.kill(gateway.pid, signal.SIGTERM)
    gateway.wait_for_log("Stopping: running replies")
    assert gateway.stop() == 0
    listener.join(10)
    assert listener.error is not None
    assert "Traceback" not in gateway.log()
    gateway.start()
    backend.reply(text("Yes?"))
    said: list[Any] = [
        {"role": "user", "content": "Tell me."},
        {"role": "assistant", "content": "Once upon "},
    ]
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk-stop", max_retries=0) as client:
        client.chat.completions.create(
            model="m", messages=[*said, {"role": "user", "content": "And?"}]
        )
    system = backend.requests[-1].body["messages"][0]["content"]
    assert "Recall storage holds 0 messages." in system, "as the conversation began"
    assert [m["content"] for m in backend.requests[-1].body["messages"][2:]] == [
        "Tell me.",
        "Once upon ",
        "And?",
    ]


def test_a_variable_that_is_no_setting_is_told_of(start_gateway):
    gateway = start_gateway(env={"MEMGPT_CONTEXT_WINDOWS": "4096"})
    assert "MEMGPT_CONTEXT_WINDOWS is in the environment, but there is no such" in gateway.log()


def test_it_starts_without_its_backend_and_says_so(start_gateway):
    gateway = start_gateway(backend_url="http://127.0.0.1:9/v1")
    assert "http://127.0.0.1:9/v1, which cannot be reached now" in gateway.log()


def test_records_say_that_as_a_warning(backend: ScriptedBackend, start_gateway):
    def level(url: str) -> str:
        lines = start_gateway("--log-format", "json", backend_url=url).log().splitlines()
        [record] = [json.loads(line) for line in lines if "listening at" in line]
        return str(record["level"])

    assert level("http://127.0.0.1:9/v1") == "warning"
    assert level(backend.base_url) == "info"


def test_memories_are_not_begun_anew_because_their_secret_is_missing(start_gateway):
    gateway = start_gateway()
    gateway.stop()
    (gateway.data_dir / "namespace.secret").unlink()
    with pytest.raises(AssertionError):
        gateway.start()
    assert "namespace.secret is missing beside memory.db" in gateway.log().splitlines()[-1]
    assert not (gateway.data_dir / "namespace.secret").exists()


def test_memories_of_another_secret_are_told_of(tmp_path: Path, backend: ScriptedBackend):
    with GatewayProcess(tmp_path, backend.base_url) as gateway:
        gateway.restart()
    assert "begun with another namespace secret" not in gateway.log()
    env = {"MEMGPT_NAMESPACE_SECRET": "another one of some length"}
    with GatewayProcess(tmp_path, backend.base_url, env=env) as gateway:
        assert "memory.db was begun with another namespace secret than this" in gateway.log()


@pytest.mark.elasticsearch
def test_a_fleet_of_another_secret_is_told_of(elasticsearch: ElasticsearchNode, start_gateway):
    def log(secret: str) -> str:
        given = {"URL": elasticsearch.url, "PREFIX": prefix}
        env = {f"MEMGPT_ELASTICSEARCH_{name}": value for name, value in given.items()}
        return start_gateway(env={**env, "MEMGPT_NAMESPACE_SECRET": secret}).log()

    prefix = f"secret_{uuid4().hex[:8]}"
    told = f"{prefix}-* was begun with another namespace secret than this"
    for secret in ("that of the whole fleet", "that of the whole fleet"):
        assert told not in log(secret)
    assert told in log("another one of some length")


def test_why_its_backend_cannot_be_reached_is_told(backend: ScriptedBackend, start_gateway):
    url = backend.base_url.replace("http:", "https:")
    told = start_gateway(backend_url=url).log()
    why = "the server does not speak TLS, perhaps http:// is meant"
    assert f"{url}, which cannot be reached now ({why}): is it running, and" in told


def test_a_base_url_that_lacks_its_end_is_told_of(backend: ScriptedBackend, start_gateway):
    url = backend.base_url.removesuffix("/v1")
    gateway = start_gateway(backend_url=url)
    assert f"{url}, which lists no models there (404): did you mean {url}/v1?" in gateway.log()
    assert "??" not in gateway.log()
    assert "?." not in gateway.log()
    gateway = start_gateway(backend_url=backend.base_url)
    assert f"the backend at {backend.base_url}.\n" in gateway.log()


@pytest.mark.parametrize("path", ["chat/completions", "responses", "models/"])
def test_a_base_url_that_goes_on_to_an_endpoint_is_told_of(start_gateway, path: str):
    with answering({}, 404) as url:
        told = start_gateway(backend_url=f"{url}/v1/{path}").log()
    assert f"did you mean {url}/v1?\n" in told


@pytest.mark.parametrize("status", [401, 403])
def test_a_backend_that_refuses_the_gateways_key_is_told_of(start_gateway, status: int):
    with answering({}, status) as url:
        told = start_gateway(backend_url=f"{url}/v1", env={"MEMGPT_BACKEND_API_KEY": "sk-x"}).log()
    assert f"the backend at {url}/v1, which refuses backend_api_key ({status}).\n" in told
    assert "sk-x" not in told


def test_the_demo_is_shown_with_a_key_that_is_accepted(start_gateway):
    told = start_gateway("--accepted-keys", "sk-a", backend_url=None).log()
    assert "API key   ONE_OF_ACCEPTED_KEYS\n" in told
    assert "Bearer demo" not in told


@pytest.mark.parametrize("status", [401, 403])
def test_one_that_wants_a_key_before_it_says_that_nothing_is_there(start_gateway, status: int):
    with answering({}, status) as url:
        told = start_gateway(backend_url=url).log()
        assert f"{url}, which lists no models there ({status}): did you mean {url}/v1?" in told
        assert "API key   YOUR_BACKEND_KEY\n" in told
        told = start_gateway(backend_url=f"{url}/v1").log()
    assert "did you mean" not in told
    assert "API key   YOUR_BACKEND_KEY\n" in told


def test_a_server_here_that_asks_for_no_key_is_shown_with_any(
    backend: ScriptedBackend, start_gateway
):
    told = start_gateway(backend_url=backend.base_url).log()
    assert "API key   any-key-of-yours\n" in told
    told = start_gateway(env={"MEMGPT_BACKEND_API_KEY": "sk-operators"}).log()
    assert "API key   any-key-of-yours\n" in told
    assert "sk-operators" not in told
    told = start_gateway("--accepted-keys", "sk-a").log()
    assert "API key   ONE_OF_ACCEPTED_KEYS\n" in told


@pytest.mark.parametrize("passes", [True, False])
def test_of_several_backends_it_shows_whose_key_is_wanted(
    backend: ScriptedBackend, start_gateway, tmp_path: Path, passes: bool
):
    with answering({}, 401) as url:
        entry = {"name": "one", "url": f"{url}/v1", "pass_client_key": passes}
        file = tmp_path / "backends.yaml"
        file.write_text(json.dumps({"backends": [entry]}))
        told = start_gateway("--backends-file", str(file), backend_url=None).log()
    assert f"API key   {'YOUR_BACKEND_KEY' if passes else 'any-key-of-yours'}\n" in told


def test_it_does_not_stand_in_front_of_itself(start_gateway, tmp_path):
    with pytest.raises(AssertionError, match="is this gateway itself"):
        start_gateway("--port", "18484", backend_url="http://127.0.0.1:18484/v1")


SECRETS = ("of sixteen characters", "of sixteen others too")
ELSEWHERE = "a gateway with another namespace_secret was started last at this Redis"


@pytest.mark.redis
def test_replicas_with_several_secrets_at_one_redis_are_told_of(
    redis_server: RedisServer, start_gateway
):
    def told(secret: str) -> str:
        gateway = start_gateway("--redis-url", redis_server.url, "--namespace-secret", secret)
        return gateway.log()

    first, other = SECRETS
    assert ELSEWHERE not in told(first)
    assert ELSEWHERE not in told(first)
    assert ELSEWHERE in (warned := told(other))
    assert ELSEWHERE in told(first)
    assert first not in warned
    assert other not in warned


@pytest.mark.redis
def test_a_redis_without_a_secret_that_is_set_is_told_of(redis_server: RedisServer, start_gateway):
    lacks = "redis_url is set without namespace_secret"
    assert lacks in start_gateway("--redis-url", redis_server.url).log()
    secret = ("--namespace-secret", SECRETS[0])
    assert lacks not in start_gateway("--redis-url", redis_server.url, *secret).log()
    assert lacks not in start_gateway().log()


@pytest.mark.redis
def test_a_redis_that_is_away_is_told_of_once_and_when_it_is_back(
    redis_binary: str, start_gateway, tmp_path: Path
):
    redis = RedisServer(tmp_path / "redis")
    limited = ("--requests-per-minute", "1000", "--namespace-secret", SECRETS[0])
    gateway = start_gateway("--redis-url", redis.url, *limited)
    away, back = "Redis is unavailable: ", "Redis is back"
    assert gateway.log().count(away) == 1
    for _ in range(3):
        httpx.get(f"{gateway.base_url}/models", headers={"authorization": "Bearer sk-1"})
    with redis:

        def is_back() -> bool:
            httpx.get(f"{gateway.base_url}/models", headers={"authorization": "Bearer sk-1"})
            return back in gateway.log()

        until(is_back)
    assert (gateway.log().count(away), gateway.log().count(back)) == (1, 1)
