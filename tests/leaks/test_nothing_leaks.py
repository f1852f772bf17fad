"""Whatever a backend's answers look like: what is inside stays inside, what is said arrives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from memgpt_proxy.agent.functions import FUNCTIONS, HEARTBEAT
from memgpt_proxy.config import ReplyMode
from memgpt_proxy.memory.alerts import PREFIX
from tests.leaks.dialect import Step, Writer
from tests.leaks.gateway import InProcess, in_process
from tests.leaks.scenario import MARK, Scenario, scenarios

INSIDE = [MARK, HEARTBEAT, PREFIX.strip(), "</think>", "Message sent", *FUNCTIONS]
MOST_STEPS = 4
NUMBERS = count()
ROUND = settings(
    suppress_health_check=list(HealthCheck), max_examples=400, report_multiple_bugs=False
)


@pytest.fixture(scope="module", params=[ReplyMode.AUTO, ReplyMode.CONTENT], ids=str)
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InProcess]:
    directory = tmp_path_factory.mktemp("leaks")
    with in_process(directory, reply_mode=request.param, max_steps=MOST_STEPS) as opened:
        yield opened


def play(gateway: InProcess, writer: Writer, steps: list[Step], body: Any) -> httpx.Response:
    """Ask, while the backend answers with these steps."""
    left = iter(steps)

    def answer(_: Any) -> tuple[list[bytes], str]:
        step = next(left, Step(content="Nobody asked for this."))
        written, kind = writer.body(step)
        return writer.writes(written), kind

    gateway.answer = answer
    response = gateway.ask(f"key-{body['model']}", body)
    assert next(left, None) is None, "a step was not asked for"
    return response


def told(response: httpx.Response) -> list[dict[str, Any]]:
    """The choices of a response, streamed or not, as messages."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        return [choice["message"] for choice in response.json()["choices"]]
    messages: dict[int, dict[str, Any]] = {}
    events = response.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    for event in events[:-2]:
        if event.startswith(":"):
            continue
        for choice in json.loads(event.removeprefix("data: "))["choices"]:
            message = messages.setdefault(choice["index"], {"content": "", "tool_calls": []})
            _add(message, choice["delta"])
    return [messages[index] for index in sorted(messages)]


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    message["content"] += delta.get("content") or ""
    for call in delta.get("tool_calls") or ():
        if call["index"] == len(message["tool_calls"]):
            message["tool_calls"].append({"function": {"name": "", "arguments": ""}})
        function = message["tool_calls"][call["index"]]["function"]
        for name, value in call["function"].items():
            function[name] += value
    if function := delta.get("function_call"):
        message.setdefault("function_call", {"name": "", "arguments": ""})
        for name, value in function.items():
            message["function_call"][name] += value


def check_inside(text: str) -> None:
    for each in INSIDE:
        assert each not in text, f"{each!r} reached the client: {text}"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@given(data=st.data())
@ROUND
def test_what_is_inside_stays_inside(gateway: InProcess, stream: bool, data: st.DataObject) -> None:
    by_content = gateway.mode is ReplyMode.CONTENT
    scenario: Scenario = data.draw(scenarios(by_content=by_content))
    writer = Writer(scenario.dialect, Random(data.draw(st.integers(0, 2**16))))
    body: dict[str, Any] = {"model": f"model-{next(NUMBERS)}", "stream": stream}
    if scenario.before:
        first = {**body, "messages": [{"role": "user", "content": "First"}]}
        check_inside(
            play(gateway, Writer(scenario.dialect, Random(1)), [scenario.before], first).text
        )
    body |= {"messages": [{"role": "user", "content": "Hello"}], **scenario.asked}
    response = play(gateway, writer, scenario.steps, body)
    note(response.text)
    check_inside(response.text)
    assert response.status_code == 200
    choices = told(response)
    assert len(choices) == scenario.asked.get("n", 1)
    for message in choices:
        assert (message["content"] or "") == scenario.said
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        called = [(call["name"], json.loads(call["arguments"])) for call in calls]
        assert called == scenario.called
