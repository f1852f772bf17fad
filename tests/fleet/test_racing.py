"""Replicas at work on one namespace at once: every edit is there or was refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.fleet.fleet import namespace_of
from tests.support.backend import ScriptedBackend
from tests.support.replies import Reply, call

pytestmark = [pytest.mark.elasticsearch, pytest.mark.redis, pytest.mark.slow]

KEY = "sk-shared"


def edits_as_told(request: dict[str, Any]) -> Reply:
    """Append what the user says to the working context, and reply with what came of it."""
    last = request["messages"][-1]
    if last["role"] == "tool":
        return call("send_message", {"message": last["content"]})
    appended = {"content": last["content"], "request_heartbeat": True}
    return call("working_context_append", appended)


async def edit(client: httpx.AsyncClient, url: str, line: str) -> str:
    response = await client.post(
        f"{url}/chat/completions",
        json={"model": "scripted", "messages": [{"role": "user", "content": line}]},
        headers={"authorization": f"Bearer {KEY}"},
    )
    assert response.status_code == 200, response.text
    reply: str = response.json()["choices"][0]["message"]["content"]
    return reply


@pytest.mark.timeout(180)
async def test_every_edit_is_there_or_was_refused(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start)
    backend.script(edits_as_told)
    lines = [f"line-{number:03d}-end" for number in range(120)]
    left = iter(enumerate(lines))
    replies: dict[str, str] = {}

    async def editor(client: httpx.AsyncClient) -> None:
        for number, line in left:
            replies[line] = await edit(client, fleet.urls[number % 2], line)

    async with httpx.AsyncClient(timeout=60) as client, asyncio.TaskGroup() as editors:
        for _ in range(12):
            editors.create_task(editor(client))
    done = {line for line, reply in replies.items() if reply.startswith("Appended.")}
    refused = {line for line, reply in replies.items() if reply.startswith("Error:")}
    assert done | refused == set(lines)
    assert len(done) > len(lines) // 2, "most edits get through"
    async with fleet.opened_store() as store:
        context = await store.context(namespace_of(KEY))
    assert sorted(context.content.splitlines()) == sorted(done)
    assert context.version == len(done)
