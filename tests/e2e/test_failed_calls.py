"""A server that reads its model's calls itself, and refuses what it cannot read.

Groq's error: https://console.groq.com/docs/errors; ``tool_use_failed`` and ``failed_generation`` as
told in github.com/sipeed/picoclaw issue 748.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.chatting import Person, error_of, raw, send, tool, user
from tests.support.backend import ScriptedBackend
from tests.support.replies import Reply, error, event

FAILED = {
    "error": {
        "message": "Failed to call a function. Please adjust your prompt.",
        "type": "invalid_request_error",
        "code": "tool_use_failed",
        "failed_generation": '<function=send_message{"message": "A zorilla!"}',
    }
}


def failed(*, streamed: bool) -> Reply:
    return event(FAILED) if streamed else error(400, FAILED)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_model_is_asked_again(backend: ScriptedBackend, anyone: Person, streamed: bool) -> None:
    backend.reply(failed(streamed=streamed), failed(streamed=streamed), send("A zorilla!"))
    assert anyone.say("I have a zorilla.").text == "A zorilla!"
    first, second, third = backend.requests
    assert first.body == second.body == third.body


@pytest.mark.parametrize("streamed", [False, True])
def test_one_that_never_can_is_told_in_words(
    backend: ScriptedBackend, person: Person, streamed: bool
) -> None:
    backend.script(lambda _: failed(streamed=streamed))
    request = {"model": person.model, "messages": [user("Hello.")]}
    answer = raw(person.base_url, person.api_key, **request)
    assert answer.status_code == 502
    assert error_of(answer)["message"] == (
        "The model called a function in a way that its server cannot read."
    )
    assert "send_message" not in answer.text
    assert len(backend.requests) == 3


def test_the_clients_own_functions_are_its_own_matter(
    backend: ScriptedBackend, person: Person
) -> None:
    backend.reply(error(400, FAILED))
    request: dict[str, Any] = {"model": person.model, "messages": [user("Hello.")]}
    request |= {"tools": [tool("get_weather", city="string")]}
    headers = {"authorization": f"Bearer {person.api_key}", "x-memgpt-memory": "off"}
    url = f"{person.base_url}/chat/completions"
    answer = httpx.post(url, json=request, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()) == (400, FAILED)
    assert len(backend.requests) == 1
