"""An import whose messages hang on each other in a circle."""

from __future__ import annotations
import json
import subprocess, sys, time
from pathlib import Path
import httpx
import pytest
from memgpt_proxy.memory.transcript import content_id, node_id
from memgpt_proxy.stores.records import ROOT, Namespace
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send
from tests.e2e.test_owner import headers
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess


def test_no_import_stops_the_gateway(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person, api_key: str
) -> None:
    head = json.loads(
        httpx.get(f"{gateway.origin}/memgpt/export", headers=headers(api_key)).text.splitlines()[0]
    )
    namespace = Namespace(head["namespace"])
    content = content_id({"role": "user", "content": "hi"})
    name = node_id(namespace, ROOT, content)
    message = {
        "id": name,
        "key": name,
        "content": content,
        "parent": name,
        "depth": 2**50,
        "role": "user",
        "text": "hi",
        "entries": json.dumps([{"role": "user", "content": "hi"}]),
        "tokens": 3,
        "created": time.time(),
        "queue": "",
        "context_version": 0,
        "turn": "",
        "complete": True,
        "abandoned": False,
    }
    lines = [head, {"message": message}, {"end": {"message": 1}}]
    answer = httpx.post(
        f"{gateway.origin}/memgpt/import",
        headers=headers(api_key),
        content="\n".join(map(json.dumps, lines)),
    )
    print(answer.status_code, answer.text)
    for _ in range(3):
        backend.reply(send("Hello."))
        try:
            httpx.post(
                f"{gateway.base_url}/chat/completions",
                headers=headers(api_key),
                timeout=5,
                json={"model": person.model, "messages": [{"role": "user", "content": "hi"}]},
            )
        except httpx.TimeoutException:
            pass
        try:
            httpx.get(f"{gateway.origin}/healthz", timeout=5).raise_for_status()
        except httpx.TimeoutException:
            gateway.kill() if hasattr(gateway, "kill") else None
            pytest.fail("the gateway hangs, for everybody")
