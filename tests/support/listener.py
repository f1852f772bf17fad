"""Somebody who listens to a streamed reply in a thread, while a test does things to the gateway."""

from __future__ import annotations

import threading

import httpx
import openai

from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import text


class Listener(threading.Thread):
    """Somebody who listens to a streamed reply."""

    def __init__(self, gateway: GatewayProcess) -> None:
        super().__init__()
        self._client = openai.OpenAI(base_url=gateway.base_url, api_key="sk-stop", max_retries=0)
        self.heard = ""
        self.began = threading.Event()
        self.error: Exception | None = None
        self.headers = {"authorization": "Bearer sk-stop"}

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
