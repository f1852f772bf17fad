"""The same first message twice, as docs/clients.md tells it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import call, text

APPEND = "working_context_append"


def ask(gateway: GatewayProcess, key: str, **headers: str) -> str | None:
    with openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
        said: Any = [{"role": "user", "content": "hi"}]
        answer = client.chat.completions.create(model="m", messages=said, extra_headers=headers)
    return answer.choices[0].message.content


def remembered(gateway: GatewayProcess, key: str) -> list[tuple[str, str, bool]]:
    """Role, text and whether it is abandoned, of each message of a memory."""
    url = f"{gateway.origin}/memgpt/export"
    lines = httpx.get(url, headers={"authorization": f"Bearer {key}"}).text.splitlines()
    found = [told["message"] for line in lines if "message" in (told := json.loads(line))]
    return sorted((each["role"], each["text"], each["abandoned"]) for each in found)


def working_context(gateway: GatewayProcess, key: str) -> str:
    url = f"{gateway.origin}/memgpt/working-context"
    told = httpx.get(url, headers={"authorization": f"Bearer {key}"}).json()["content"]
    assert isinstance(told, str)
    return told


def writing(what: str) -> Any:
    return call(APPEND, {"content": what, "request_heartbeat": True})


def test_it_is_a_regenerated_reply(gateway: GatewayProcess, backend: ScriptedBackend, api_key: str):
    backend.reply(writing("Said hi once"), text("One."), writing("Said hi again"), text("Two."))
    assert [ask(gateway, api_key) for _ in range(2)] == ["One.", "Two."]
    assert remembered(gateway, api_key) == [
        ("assistant", "One.", True),
        ("assistant", "Two.", False),
        ("user", "hi", False),
    ]
    assert working_context(gateway, api_key) == "Said hi again", "the first turn's is taken back"


@pytest.mark.parametrize("names", [("one", "two"), ("one", "one")], ids=["each", "all"])
def test_in_conversations_that_are_named_it_is_said_twice(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str, names: tuple[str, str]
):
    backend.reply(writing("Said hi once"), text("One."), writing("Said hi again"), text("Two."))
    for name in names:
        ask(gateway, api_key, **{"x-memgpt-conversation": name})
    assert remembered(gateway, api_key) == [
        ("assistant", "One.", False),
        ("assistant", "Two.", False),
        ("user", "hi", False),
        ("user", "hi", False),
    ]
    assert working_context(gateway, api_key) == "Said hi once\nSaid hi again"


def test_with_memory_off_nothing_is_remembered(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
):
    backend.reply(text("One."), text("Two."))
    for _ in range(2):
        ask(gateway, api_key, **{"x-memgpt-memory": "off"})
    assert remembered(gateway, api_key) == []
