"""People who talk to a fleet while parts of it die, and what must be true of it afterwards."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
from tests.fleet.fleet import Fleet, namespace_of
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Reply, call

PATIENCE = 60.0
"""Seconds within which somebody answers, whatever has died."""

SETTLED_SECONDS = 90.0
"""Seconds within which all that waited is stored, on a busy machine."""

WRITING = "[write]"
"""What the threads of Elasticsearch are called that store documents."""

WHOLE = {"status": "ok"}
"""What a replica says of itself that has stored everything."""

UNHURRIED = 0.2
"""Seconds that somebody who is in no hurry thinks before saying more."""

Messages = list[dict[str, str]]


def numbered_replies(backend: ScriptedBackend) -> None:
    """Let the backend answer each request with a reply of its own, told by its number."""
    numbers = itertools.count()

    def answer(request: dict[str, Any]) -> Reply:
        return call("send_message", {"message": f"reply-{next(numbers):06d}-end"})

    backend.script(answer)


@dataclass(slots=True)
class Crowd:
    """People with a conversation each, who send it to one replica after the other.

    Attributes:
        urls: The replicas' base URLs.
        degraded: Answers that were marked so.
        refused: Answers with an error of the gateway's.
        seed: Who asks which replica, first.
    """

    urls: Sequence[str]
    people: int
    seed: int
    degraded: int = 0
    refused: int = 0
    said: dict[str, Messages] = field(default_factory=dict)
    _acknowledged: int = 0
    _thinking: float = 0.0
    _progress: asyncio.Condition = field(default_factory=asyncio.Condition)
    _stopping: bool = False

    async def during(self, happens: Callable[[Crowd], Awaitable[None]]) -> None:
        """Let all of them talk while something happens, and end their turns."""
        async with (
            httpx.AsyncClient(timeout=PATIENCE) as client,
            asyncio.timeout(10 * PATIENCE),
            asyncio.TaskGroup() as group,
        ):
            for number in range(self.people):
                group.create_task(self._talk(client, f"sk-person-{self.seed}-{number}"))
            try:
                await happens(self)
            finally:
                self._stopping = True

    async def acknowledge(self, more: int) -> None:
        """Return when so many more turns have been answered."""
        async with self._progress, asyncio.timeout(PATIENCE):
            goal = self._acknowledged + more
            await self._progress.wait_for(lambda: self._acknowledged >= goal)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Let people think before they say more, while a server starts.

        Else they keep the processor from it, and say thousands of messages meanwhile, each of which
        is looked up at the end.
        """
        self._thinking = UNHURRIED
        try:
            yield
        finally:
            self._thinking = 0.0

    async def _talk(self, client: httpx.AsyncClient, key: str) -> None:
        said = self.said.setdefault(key, [])
        chooser = random.Random(f"{self.seed} {key}")
        while not self._stopping:
            message = {"role": "user", "content": f"message-{key}-{len(said) // 2:04d}-end"}
            reply = await self._answer(client, key, [*said, message], chooser)
            said += [message, {"role": "assistant", "content": reply}]
            async with self._progress:
                self._acknowledged += 1
                self._progress.notify_all()
            await asyncio.sleep(self._thinking)

    async def _answer(
        self, client: httpx.AsyncClient, key: str, messages: Messages, chooser: random.Random
    ) -> str:
        """Ask until somebody answers, as the SDKs do when a connection breaks."""
        async with asyncio.timeout(PATIENCE):
            for attempt in itertools.count():
                answer = await self._attempt(
                    client, key, messages, chooser.choice(self.urls), attempt
                )
                if answer is not None:
                    return answer
        raise AssertionError("the loop has no end")

    async def _attempt(
        self, client: httpx.AsyncClient, key: str, messages: Messages, url: str, attempt: int
    ) -> str | None:
        headers = {"authorization": f"Bearer {key}", "x-stainless-retry-count": str(attempt)}
        body = {"model": "scripted", "messages": messages}
        try:
            response = await client.post(f"{url}/chat/completions", json=body, headers=headers)
        except httpx.TransportError:
            await asyncio.sleep(0.05)  # as the SDKs do before they try again
            return None
        if response.status_code >= 500:
            self.refused += 1
            await asyncio.sleep(0.05)
            return None
        assert response.status_code == 200, response.text
        self.degraded += response.headers.get("x-memgpt-degraded") == "true"
        content: str = response.json()["choices"][0]["message"]["content"]
        return content


async def settled(fleet: Fleet) -> None:
    """Return when every replica is whole again: nothing waits to be stored."""
    if not _are_whole(told := await _told(fleet)):
        logs = [*(each.log() for each in fleet.replicas), *(each.log() for each in fleet.nodes)]
        threads = [each.threads(WRITING) for each in fleet.nodes]
        pytest.fail("\n\n".join([*logs, *threads, f"replicas say {told}"]))


async def _told(fleet: Fleet) -> list[object]:
    """What the replicas say of themselves, as soon as they are whole or patience is at its end."""
    told: list[object] = []
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_SECONDS):
                while not _are_whole(told):
                    await asyncio.sleep(0.1)
                    told = [await _ready(client, replica) for replica in fleet.replicas]
    return told


def _are_whole(told: list[object]) -> bool:
    return bool(told) and all(each == WHOLE for each in told)


async def _ready(client: httpx.AsyncClient, replica: GatewayProcess) -> object:
    return (await client.get(f"{replica.origin}/readyz")).json()


async def stored_once(crowd: Crowd, fleet: Fleet) -> None:
    """Everything acknowledged is in recall storage, once, whoever asks for it."""
    async with fleet.opened_store() as store, asyncio.TaskGroup() as group:
        for key, said in crowd.said.items():
            group.create_task(_each_found_once(store, key, said))


async def _each_found_once(store: ElasticsearchStore, key: str, said: Messages) -> None:
    for message in said:
        page = await store.search_messages(
            namespace_of(key), message["content"], limit=10, offset=0
        )
        assert [hit.text for hit in page.hits] == [message["content"]]


async def remembered(crowd: Crowd, url: str, backend: ScriptedBackend) -> None:
    """Everything acknowledged stands in the next prompt, once and in order."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        for key, said in crowd.said.items():
            request = {
                "model": "scripted",
                "messages": [*said, {"role": "user", "content": "And now?"}],
            }
            headers = {"authorization": f"Bearer {key}"}
            response = await client.post(f"{url}/chat/completions", json=request, headers=headers)
            assert response.status_code == 200, response.text
            assert "x-memgpt-degraded" not in response.headers
            prompt = backend.requests[-1].raw.decode()
            _stands_once_in_order(prompt, [message["content"] for message in said])


def _stands_once_in_order(prompt: str, texts: Sequence[str]) -> None:
    places = []
    for text in texts:
        assert prompt.count(text) == 1, f"{text} stands there {prompt.count(text)} times"
        places.append(prompt.index(text))
    assert places == sorted(places)
