"""A gateway that is told to stop: what it still answers, what it refuses, and what it waits for."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
import pytest

from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.listener import introduce, listening
from tests.support.process import free_port, until
from tests.support.redis_server import RedisServer
from tests.support.replies import Gate, text, wait

pytestmark = pytest.mark.slow  # a process for each test

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "And you?"}]}
GRACE = 30
"""Seconds beside those of draining that docs/operations.md asks for, and the chart gives."""
KEY = {"authorization": "Bearer sk-drain"}


def readiness(gateway: GatewayProcess) -> httpx.Response:
    return httpx.get(f"{gateway.origin}/readyz")


def ask(gateway: GatewayProcess) -> httpx.Response:
    return httpx.post(f"{gateway.base_url}/chat/completions", json=QUESTION, headers=KEY)


def models(gateway: GatewayProcess) -> httpx.Response:
    return httpx.get(f"{gateway.base_url}/models", headers=KEY)


def story(backend: ScriptedBackend, gateway: GatewayProcess) -> Gate:
    """Have the backend tell a story that stops in its middle, until the gate is opened."""
    introduce(backend, gateway)
    gate = Gate()
    backend.reply(text("Once upon ") + wait(gate) + text("a time."))
    return gate


def test_new_requests_are_refused_while_a_reply_is_finished(
    backend: ScriptedBackend, start_gateway: Callable[..., GatewayProcess]
) -> None:
    gateway = start_gateway("--reply-mode", "content")
    gate = story(backend, gateway)
    listener = listening(gateway)
    os.kill(gateway.pid, signal.SIGTERM)
    until(lambda: models(gateway).status_code == 503)
    refused = ask(gateway)
    assert refused.json()["error"]["code"] == "stopping"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["connection"] == "close"
    ready = readiness(gateway)
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert httpx.get(f"{gateway.origin}/healthz").status_code == 200, "it lives, and is not killed"
    assert "memgpt_active_streams 1.0" in httpx.get(f"{gateway.origin}/metrics").text
    gate.open()
    listener.join(10)
    assert (listener.heard, listener.error) == ("Once upon a time.", None)
    assert gateway.stop() == 0


def test_a_connection_on_which_nothing_was_asked_yet_is_answered_too(
    backend: ScriptedBackend, start_gateway: Callable[..., GatewayProcess]
) -> None:
    gateway = start_gateway("--reply-mode", "content")
    gate = story(backend, gateway)
    listener = listening(gateway)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as fresh:
        assert readiness(gateway).status_code == 200, "the connection before it is accepted too"
        os.kill(gateway.pid, signal.SIGTERM)
        until(lambda: models(gateway).status_code == 503)
        fresh.sendall(b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n")
        assert fresh.recv(2**16).startswith(b"HTTP/1.1 503 ")
    gate.open()
    listener.join(10)
    assert (listener.heard, listener.error) == ("Once upon a time.", None)
    assert gateway.stop() == 0


def test_requests_are_taken_until_load_balancers_have_noticed(
    backend: ScriptedBackend, start_gateway: Callable[..., GatewayProcess]
) -> None:
    gateway = start_gateway("--reply-mode", "content", "--drain-delay-seconds", "60")
    backend.reply(text("Fine."))
    os.kill(gateway.pid, signal.SIGTERM)
    until(lambda: readiness(gateway).status_code == 503)
    answer = ask(gateway)
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close", "the next request goes elsewhere"
    assert gateway.stop() == 0, "a second signal ends the delay too"


def test_idle_connections_are_closed_and_running_ones_after_their_reply(
    backend: ScriptedBackend, start_gateway: Callable[..., GatewayProcess]
) -> None:
    gateway = start_gateway("--reply-mode", "content")
    gate = story(backend, gateway)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += idle.recv(4096)
        listener = listening(gateway)
        os.kill(gateway.pid, signal.SIGTERM)
        assert idle.recv(4096) == b"", "closed"
    gate.open()
    listener.join(10)
    assert listener.error is None
    assert gateway.stop() == 0


def test_replies_that_take_too_long_are_ended_and_kept(
    backend: ScriptedBackend, start_gateway: Callable[..., GatewayProcess]
) -> None:
    gateway = start_gateway("--reply-mode", "content", "--drain-seconds", "1")
    introduce(backend, gateway)
    backend.reply(text("Once upon ") + wait(Gate()))
    listener = listening(gateway)
    os.kill(gateway.pid, signal.SIGTERM)
    listener.join(10)
    assert isinstance(listener.error, openai.APIError | httpx.TransportError)
    gateway.wait_for_end()
    gateway.start()
    backend.reply(text("Yes?"))
    said = [
        {"role": "user", "content": "Tell me."},
        {"role": "assistant", "content": "Once upon "},
        {"role": "user", "content": "And?"},
    ]
    question = {"model": "m", "messages": said}
    httpx.post(f"{gateway.base_url}/chat/completions", json=question, headers=listener.headers)
    prompt = backend.requests[-1].body["messages"]
    assert [m["content"] for m in prompt[2:]] == ["Tell me.", "Once upon ", "And?"]


@pytest.mark.slow
def test_a_stop_fits_into_its_grace_with_everything_away(
    backend: ScriptedBackend, start_gateway: Callable[..., GatewayProcess]
) -> None:
    """Servers that take connections and say nothing, and a reply that does not end by itself."""
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [each.getsockname()[1] for each in silent]
        env = {
            "MEMGPT_ELASTICSEARCH_URL": f"http://127.0.0.1:{ports[0]}",
            "MEMGPT_NAMESPACE_SECRET": "0123456789abcdef0123456789abcdef",
            "MEMGPT_REDIS_URL": f"redis://127.0.0.1:{ports[1]}",
            "MEMGPT_OTLP_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports[2]}",
        }
        gateway = start_gateway("--reply-mode", "content", "--drain-seconds", "1", env=env)
        introduce(backend, gateway)
        backend.reply(text("Once upon ") + wait(Gate()))
        listener = listening(gateway)
        os.kill(gateway.pid, signal.SIGTERM)
        assert gateway.wait_for_end(1 + GRACE) == 0
        listener.join(10)
        assert "replies are ended by the stop" in gateway.log()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_gateway_that_is_starting_can_be_stopped(
    backend: ScriptedBackend, tmp_path: Path, signum: signal.Signals
) -> None:
    """As the first process of a container it would not see a signal that it does not handle."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        env = {
            "MEMGPT_ELASTICSEARCH_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "MEMGPT_NAMESPACE_SECRET": "0123456789abcdef0123456789abcdef",
        }
        gateway = GatewayProcess(tmp_path, backend.base_url, env=env)
        gateway.launch()
        with silent.accept()[0]:
            os.kill(gateway.pid, signum)
            assert gateway.wait_for_end() == 0
    assert "Traceback" not in gateway.log()
    assert "Stopped at once." in gateway.log()


@pytest.mark.redis
@pytest.mark.parametrize("redis_is_back", [True, False])
def test_what_waits_on_disk_outlives_it_or_is_told(
    backend: ScriptedBackend,
    start_gateway: Callable[..., GatewayProcess],
    redis_server: RedisServer,
    *,
    redis_is_back: bool,
) -> None:
    """Elasticsearch and Redis were away; the disk is a pod's, and goes with it."""
    fleet = {
        "MEMGPT_ELASTICSEARCH_URL": f"http://127.0.0.1:{free_port()}",
        "MEMGPT_REDIS_URL": redis_server.url,
        "MEMGPT_NAMESPACE_SECRET": "that of all replicas",
    }
    redis_server.kill()
    with ExitStack() as back:
        back.callback(redis_server.start)
        gateway = start_gateway(env=fleet)
        introduce(backend, gateway)
        if redis_is_back:
            back.close()
        assert gateway.stop() == 0
    waiting = redis_server.ask("XLEN", "memgpt:waiting:{journal}")
    assert waiting == (":1\r\n" if redis_is_back else ":0\r\n")
    left = f"1 writes still wait in {gateway.data_dir / 'journal.db'}"
    assert (left in gateway.log()) != redis_is_back
