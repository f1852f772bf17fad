"""A client that leaves while the store writes, which goes on with it all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.stores.sqlite import SqliteStore
from tests.api.scripted import DONE, Scene, answer, calling, events, scripted, sending, user

DEADLINE = 10.0
SOON = 0.2
"""Seconds in which a turn that waits for nothing is over."""
HELLO = events(sending('{"message": "Hello."}'))
NOTE = events(calling("working_context_append", '{"content": "Likes tea"}'))


class Held:
    """A method of the store that begins, and ends when it is let: whoever waits for it or not."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.let, self.ended = (asyncio.Event() for _ in range(3))
        self._method = getattr(SqliteStore, name)
        monkeypatch.setattr(SqliteStore, name, lambda *given, **named: self._call(given, named))

    async def _call(self, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.create_task(self._work(given, named)))

    async def _work(self, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.begun.set()
        await self.let.wait()
        answer = await self._method(*given, **named)
        self.ended.set()
        return answer


async def leave(scene: Scene, held: Held) -> bool:
    """Ask, leave at what is held, and have that come to its end; whether the turn waited for it."""
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        asking = group.create_task(scene.ask(user("I like tea.")))
        await held.begun.wait()
        asking.cancel()
        over, _ = await asyncio.wait({asking}, timeout=SOON)
        held.let.set()
        await held.ended.wait()
    return not over


async def traces(scene: Scene, count: int) -> list[Any]:
    """What was done, once so many turns have told of it."""
    async with asyncio.timeout(DEADLINE):
        while len(kept := (await scene.own("traces"))["data"]) < count:
            pass
    return list(kept)


async def test_what_it_did_is_told_though_the_client_left_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(tmp_path, answer(HELLO, DONE)) as scene:
        await leave(scene, Held("commit", monkeypatch))
        (trace,) = await traces(scene, 1)
    assert trace["finish_reason"] == "stop"


async def test_a_note_under_way_is_taken_back_with_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has heard a word of it: it is not stored, and neither is what it wrote."""
    async with scripted(tmp_path, answer(NOTE, DONE), answer(HELLO, DONE)) as scene:
        assert await leave(scene, Held("write_context", monkeypatch))
        assert (await scene.own("working-context"))["content"] == ""
