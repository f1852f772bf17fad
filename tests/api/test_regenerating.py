"""A message that is regenerated, or edited, often: each time what the last turn wrote is undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from memgpt_proxy.stores.records import MOST_AFTER
from tests.api.scripted import DONE, Message, answer, assistant, calling, events, scripted, user

TIMES = MOST_AFTER + 4
BEGINNING = [user("hi"), assistant("Take 0")]


def take(number: int) -> httpx.Response:
    """A model notes how often it was asked, and says so."""
    note, said = (json.dumps({name: f"Take {number}"}) for name in ("content", "message"))
    noted = calling("working_context_append", note, id="n")
    return answer(events(noted, calling("send_message", said, index=1)), DONE)


SAID: dict[str, Callable[[int], list[Message]]] = {
    "the first reply": lambda _: [user("hi")],
    "a later one": lambda _: [*BEGINNING, user("and?")],
    "an edited message": lambda number: [*BEGINNING, user(f"and {number}?")],
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_only_the_last_one_stays(
    said: Callable[[int], list[Message]], tmp_path: Path
) -> None:
    async with scripted(tmp_path, *map(take, range(TIMES))) as scene:
        first = (await scene.ask(user("hi"))).text
        assert "Take 0" in first
        stays = [] if said(0) == [user("hi")] else ["Take 0"]
        for number in range(1, TIMES):
            await scene.ask(*said(number))
            told = await scene.own("working-context")
            assert told["content"].splitlines() == [*stays, f"Take {number}"]
