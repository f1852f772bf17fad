"""The store goes away and comes back: turns are answered from what is at hand, nothing is lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from memgpt_proxy import storage as storage_module
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.switched import Switch

Messages = list[dict[str, Any]]

NO_MEMORY = "no memory functions can be called"
BOOK = "A sentence of the book.\n" * 4000


@dataclass(slots=True)
class Scene:
    """A client in front of a gateway whose store a test switches off and on."""

    client: httpx.AsyncClient
    switch: Switch
    journaled: JournaledStore
    journal: DiskJournal
    prompts: list[Messages]
    database: Path
    said: Messages = field(default_factory=list)

    async def ask(
        self, content: str, *, stream: bool = False, name: str | None = None
    ) -> httpx.Response:
        """Ask on, as a client that sends all of its history; with a name it sends none."""
        message = {"role": "user", "content": content}
        messages = [message] if name else [*self.said, message]
        headers = {"x-memgpt-conversation": name} if name else {}
        answer = await self.client.post(
            "http://gateway/v1/chat/completions",
            headers={"authorization": "Bearer k", **headers},
            content=json.dumps({"model": "m", "messages": messages, "stream": stream}),
        )
        if answer.status_code == 200 and not stream:
            reply = answer.json()["choices"][0]["message"]["content"]
            self.said += [message, {"role": "assistant", "content": reply}]
        return answer

    async def recalled(self, table: str = "nodes", what: str = "text") -> list[str]:
        """What the store itself holds."""
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute(f"SELECT {what} FROM {table} ORDER BY number")
            return [text for (text,) in rows if text]

    @property
    def prompt(self) -> str:
        return json.dumps(self.prompts[-1])


Open = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture
def scene_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Starts a gateway on what earlier ones have left."""

    @asynccontextmanager
    async def opened(*, here: bool = True, journal_bytes: int = 2**24, **settings: Any) -> Any:
        embedded = SqliteStore(tmp_path / "store.db")
        await embedded.open()
        switch = Switch(embedded)
        switch.here = here
        journal = DiskJournal(tmp_path / "journal.db", journal_bytes)
        journaled = JournaledStore(switch.store, [journal], Telemetry(), probes=(3600, 3600))
        hot = HotStore(journaled, 2**20)
        monkeypatch.setattr(storage_module, "_stores", lambda *_: (embedded, hot))
        prompts: list[Messages] = []

        def complete(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return httpx.Response(404)
            prompts.append(json.loads(request.content)["messages"])
            message = {"role": "assistant", "content": f"Reply {prompts[-1][-1]['content'][-20:]}"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return httpx.Response(200, json={"id": "c1", "choices": [choice]})

        app = create_app(
            Settings(data_dir=tmp_path, **settings),
            "http://backend/v1",
            transport=httpx.MockTransport(complete),
        )
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app))
        async with app.opened(), client:
            yield Scene(client, switch, journaled, journal, prompts, tmp_path / "store.db")
        await embedded.close()

    return opened


@pytest.fixture
async def scene(scene_of: Open) -> AsyncIterator[Scene]:
    async with scene_of() as opened:
        yield opened


def is_marked(answer: httpx.Response) -> bool:
    assert answer.status_code == 200
    return answer.headers.get("x-memgpt-degraded") == "true"


async def metric(scene: Scene, name: str) -> float:
    lines = (await scene.client.get("http://gateway/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def test_what_is_at_hand_is_remembered(scene: Scene) -> None:
    assert not is_marked(await scene.ask("I am Chad."))
    scene.switch.here = False
    assert is_marked(await scene.ask("Do you hear me?"))  # found away when it is stored
    assert is_marked(await scene.ask("And now?", stream=False))
    assert NO_MEMORY not in scene.prompt
    assert "System Alert: Today is" in scene.prompt
    assert await metric(scene, "memgpt_degraded_turns_total") == 2
    assert len(await scene.recalled()) == 2
    scene.switch.here = True
    assert await scene.journaled.come_back()
    assert [*await scene.recalled()] == [message["content"] for message in scene.said]
    assert not is_marked(await scene.ask("Welcome back."))
    assert "Do you hear me?" in scene.prompt


@pytest.mark.parametrize("found", [True, False], ids=["found away", "not yet found"])
async def test_a_first_reply_that_is_regenerated_has_its_memory(
    scene: Scene, *, found: bool
) -> None:
    await scene.ask("I am Chad.")
    scene.switch.here = False
    if found:
        await scene.ask("Somebody else.", name="other")
    scene.said = []
    assert is_marked(await scene.ask("I am Chad."))
    assert NO_MEMORY not in scene.prompt


async def test_a_stream_is_marked_too(scene: Scene) -> None:
    await scene.ask("I am Chad.")
    scene.switch.here = False
    await scene.ask("Do you hear me?")
    answer = await scene.ask("And now?", stream=True)
    assert is_marked(answer)
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_a_conversation_that_is_not_at_hand_goes_on(scene_of: Open) -> None:
    async with scene_of() as before:
        await before.ask("I am Chad.")
        await before.ask("I like tea.")
    async with scene_of(here=False) as scene:
        scene.said = before.said
        for question in ("Do you hear me?", "And now?"):
            assert is_marked(await scene.ask(question))
            assert NO_MEMORY in scene.prompt
            assert "I like tea." in scene.prompt
        scene.switch.here = True
        assert await scene.journaled.come_back()
        assert await scene.recalled() == [message["content"] for message in scene.said]
        queues = await scene.recalled(what="queue")
        assert len(queues) == 7, "all but the first, whose reply the queue hangs on"
        assert len(set(queues)) == 1
        assert not is_marked(await scene.ask("Welcome back."))
        assert [m["content"] for m in scene.prompts[-1][1:]][1:] == [
            message["content"] for message in scene.said[:-1]
        ]


@pytest.mark.parametrize("turns", [1, 3, 20])
async def test_a_conversation_that_begins_meanwhile_is_remembered(
    scene_of: Open, turns: int
) -> None:
    async with scene_of(here=False) as scene:
        for number in range(turns):
            assert is_marked(await scene.ask(f"Question {number}"))
        scene.switch.here = True
        assert await scene.journaled.come_back()
        assert await scene.recalled() == [message["content"] for message in scene.said]
        await scene.ask("Welcome back.")
        assert [m["content"] for m in scene.prompts[-1] if m["role"] == "assistant"] == [
            message["content"] for message in scene.said[:-2] if message["role"] == "assistant"
        ]


async def test_a_request_that_is_repeated_is_stored_once(scene_of: Open) -> None:
    async with scene_of(here=False) as scene:
        for _ in range(3):
            scene.said = []
            assert is_marked(await scene.ask("I am Chad."))
        scene.switch.here = True
        assert await scene.journaled.come_back()
        assert await scene.recalled() == [message["content"] for message in scene.said]


async def test_a_named_conversation_stays_where_it_was(scene_of: Open) -> None:
    async with scene_of() as before:
        await before.ask("I am Chad.", name="ours")
    async with scene_of(here=False) as scene:
        assert is_marked(await scene.ask("Do you hear me?", name="ours"))
        scene.switch.here = True
        assert await scene.journaled.come_back()
        assert "Do you hear me?" in await scene.recalled()
        assert not is_marked(await scene.ask("Who am I?", name="ours"))
        assert "I am Chad." in scene.prompt
        assert "Do you hear me?" not in scene.prompt


async def test_without_memory_none_is_answered_where_that_is_wished(scene_of: Open) -> None:
    async with scene_of(when_degraded="refuse") as scene:
        await scene.ask("I am Chad.")
        scene.switch.here = False
        assert is_marked(await scene.ask("Do you hear me?"))
        assert is_marked(await scene.ask("And now?")), "memory is at hand"
        asked = len(scene.prompts)
        scene.said = []
        refused = await scene.ask("Something else.")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "memory_unavailable"
        assert refused.json()["error"]["type"] == "server_error"
        assert int(refused.headers["retry-after"]) > 0
        assert len(scene.prompts) == asked


async def test_what_no_journal_takes_is_answered(scene_of: Open) -> None:
    async with scene_of(journal_bytes=10) as scene:
        await scene.ask("I am Chad.")
        scene.switch.here = False
        assert is_marked(await scene.ask("Do you hear me?"))
        assert is_marked(await scene.ask("And now?"))
        assert await scene.journal.waiting() == 0
        scene.switch.here = True
        assert await scene.journaled.come_back()
        assert not is_marked(await scene.ask("Welcome back."))


async def test_a_queue_that_is_full_meanwhile_fails_no_turn(scene_of: Open) -> None:
    async with scene_of(context_window=2048, max_steps=2) as scene:
        await scene.ask("I am Chad.")
        scene.switch.here = False
        for number in range(12):
            assert is_marked(await scene.ask(f"Question {number}: " + "so many words " * 60))
        scene.switch.here = True
        assert await scene.journaled.come_back()
        told = await scene.recalled()
        assert [text for text in told if text.startswith("Question")] == [
            message["content"] for message in scene.said if message["role"] == "user"
        ][1:]
        assert await metric(scene, "memgpt_flushes_total") > 0
        assert not is_marked(await scene.ask("Welcome back."))


async def test_a_book_waits_with_its_passages(scene: Scene) -> None:
    await scene.ask("I am Chad.")
    scene.switch.here = False
    await scene.ask("Do you hear me?")
    assert is_marked(await scene.ask(BOOK))
    assert await scene.recalled("passages") == []
    scene.switch.here = True
    assert await scene.journaled.come_back()
    assert "".join(await scene.recalled("passages")).count("sentence") >= 4000
    assert BOOK in await scene.recalled()


async def test_an_earlier_response_cannot_be_gone_on_from_meanwhile(scene_of: Open) -> None:
    async def respond(scene: Scene, **asked: Any) -> httpx.Response:
        url, headers = "http://gateway/v1/responses", {"authorization": "Bearer k"}
        body = json.dumps({"model": "m", **asked})
        return await scene.client.post(url, headers=headers, content=body)

    async with scene_of() as before:
        first = (await respond(before, input="I am Chad.")).json()["id"]
    async with scene_of(here=False) as scene:
        refused = await respond(scene, input="And now?", previous_response_id=first)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["error"]["code"] == "memory_unavailable"
        assert is_marked(await respond(scene, input="Do you hear me?"))
        scene.switch.here = True
        assert await scene.journaled.come_back()
        answer = await respond(scene, input="And now?", previous_response_id=first)
        assert answer.status_code == 200
        assert "I am Chad." in scene.prompt
