"""A text that is as long as the client wanted it: nothing of the answer behind it is heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.scripted import DONE, answer, calling, events, scripted, sending, user

SAID = "Fine, I note it. STOP and more of this, which is longer than all that was wanted."
LIMITS: list[dict[str, Any]] = [{"stop": "STOP"}, {"max_tokens": 3}]
HALF = '{"content": "May eat peanuts'


@pytest.mark.parametrize("limit", LIMITS, ids=str)
async def test_half_a_note_behind_it_is_not_taken(tmp_path: Path, limit: dict[str, Any]) -> None:
    """The network gave the beginning of the note together with the end of the text."""
    note = calling("working_context_append", HALF, id="n", index=1)
    rest = calling("", ' if boiled, else not"}', id="n", index=1)
    said = events(sending(json.dumps({"message": SAID})), note)
    async with scripted(tmp_path, answer(said, events(rest), DONE)) as scene:
        await scene.ask(user("May I eat peanuts?"), **limit)
        context = await scene.own("working-context")
    assert "peanuts" not in context["content"]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
async def test_half_a_call_behind_it_is_not_told(tmp_path: Path, limit: dict[str, Any]) -> None:
    half = calling("get_weather", '{"city": "Os', id="w", index=1)
    rest = calling("", 'lo"}', id="w", index=1)
    said = events(sending(json.dumps({"message": SAID})), half)
    tools = [{"type": "function", "function": {"name": "get_weather"}}]
    async with scripted(tmp_path, answer(said, events(rest), DONE)) as scene:
        response = await scene.ask(user("How is it?"), tools=tools, **limit)
    assert "get_weather" not in response.text
    assert response.text.endswith("data: [DONE]\n\n")
