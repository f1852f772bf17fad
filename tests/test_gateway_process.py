"""The gateway as a process: ready when started, gone when ended, then back at the same address."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import httpx
import openai
import pytest

from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Gate, text, wait


def test_it_serves_until_it_is_stopped(backend: ScriptedBackend, start_gateway):
    gateway = start_gateway()
    assert httpx.get(f"{gateway.origin}/healthz").status_code == 200
    assert gateway.base_url in gateway.log()
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{gateway.origin}/healthz")


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


class Listener(threading.Thread):
    """Somebody who listens to a streamed reply."""

    def __init__(self, gateway: GatewayProcess) -> None:
        super().__init__()
        self._client = openai.OpenAI(base_url=gateway.base_url, api_key="sk-stop", max_retries=0)
        self.heard = ""
        self.began = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for chunk in self._client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Tell me."}], stream=True
            ):
                if chunk.choices and chunk.choices[0].delta.content:
                    self.heard += chunk.choices[0].delta.content
                    self.began.set()
        except (openai.APIError, httpx.TransportError) as error:
            self.error = error


def listening(gateway: GatewayProcess) -> Listener:
    listener = Listener(gateway)
    listener.start()
    assert listener.began.wait(10)
    return listener


def introduce(backend: ScriptedBackend, gateway: GatewayProcess) -> None:
    """Let the gateway know the model: of an unknown one the first answer is held back."""
    backend.reply(text("Hello."))
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk-other", max_retries=0) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])


def test_a_running_reply_is_finished_when_it_is_stopped(backend: ScriptedBackend, start_gateway):
    gateway = start_gateway("--reply-mode", "content")
    introduce(backend, gateway)
    gate = Gate()
    backend.reply(text("Once upon ") + wait(gate) + text("a time."))
    listener = listening(gateway)
    os.kill(gateway.pid, signal.SIGINT)
    gateway.wait_for_log("Stopping: running replies have 30 s to finish.")
    gate.open()
    listener.join(10)
    assert (listener.heard, listener.error) == ("Once upon a time.", None)
    assert gateway.stop() == 0
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


def test_it_does_not_stand_in_front_of_itself(start_gateway, tmp_path):
    with pytest.raises(AssertionError, match="is this gateway itself"):
        start_gateway("--port", "18484", backend_url="http://127.0.0.1:18484/v1")
