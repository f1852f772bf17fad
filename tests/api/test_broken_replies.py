"""A reply that broke off: what was said is remembered, each word of it once."""

from __future__ import annotations

import json
from pathlib import Path

from tests.api.scripted import DONE, answer, assistant, calling, events, scripted, sending, user


async def test_what_was_said_before_it_broke_off_is_remembered_once(tmp_path: Path) -> None:
    answers = (
        answer(events(sending('{"message": "Let me look.", "request_heartbeat": true}')), DONE),
        answer(events(sending('{"message": "I fou'))),
        answer(events(sending('{"message": "Yes."}')), DONE),
    )
    question = user("Where is it?")
    async with scripted(tmp_path, *answers) as scene:
        await scene.ask(question)
        await scene.ask(question, assistant("Let me look."), user("Did you find it?"))
    prompt = scene.prompts[2]
    assert [m["role"] for m in prompt[2:]] == ["user", "assistant", "tool", "user"]
    assert json.dumps(prompt).count("Let me look.") == 1


async def test_a_call_that_was_told_before_it_broke_off_stands_before_its_result(
    tmp_path: Path,
) -> None:
    """The client may have run its tool all the same, and sends what came of it."""
    answers = (
        answer(events(calling("get_weather", '{"city": "Oslo"}', id="w"))),
        answer(events(sending('{"message": "4 degrees."}')), DONE),
    )
    question = user("How is it?")
    tools = [{"type": "function", "function": {"name": "get_weather"}}]
    function = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    call = {"id": "w", "type": "function", "function": function}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "w", "content": "4"}
    async with scripted(tmp_path, *answers) as scene:
        await scene.ask(question, tools=tools)
        response = await scene.ask(question, called, result, tools=tools)
        assert response.status_code == 200
    assert scene.prompts[1][-2:] == [called, result]
