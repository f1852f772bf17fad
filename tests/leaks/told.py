"""What a client got: read, and held against what it must have and must not have."""

from __future__ import annotations

import json
from typing import Any

import httpx

from memgpt_proxy.agent.functions import FUNCTIONS, HEARTBEAT
from memgpt_proxy.memory.alerts import PREFIX
from tests.leaks.scenario import MARK, Scenario

INSIDE = [MARK, HEARTBEAT, PREFIX.strip(), "</think>", "Message sent", *FUNCTIONS]


def told(response: httpx.Response) -> list[dict[str, Any]]:
    """The choices of a whole response, streamed or not, as messages."""
    if response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n")
    return told_so_far(response)


def told_so_far(response: httpx.Response) -> list[dict[str, Any]]:
    """The choices of a response, however it ended."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        return [choice["message"] for choice in response.json().get("choices", ())]
    messages: dict[int, dict[str, Any]] = {}
    ends: set[int] = set()
    for event in filter(None, response.text.split("\n\n")):
        if event.startswith(":") or event == "data: [DONE]":
            continue
        for choice in json.loads(event.removeprefix("data: ")).get("choices", ()):
            assert choice["index"] not in ends, f"a delta behind the end: {response.text}"
            message = messages.setdefault(choice["index"], {"content": "", "tool_calls": []})
            _add(message, choice["delta"])
            if choice["finish_reason"]:
                ends.add(choice["index"])
    if response.text.endswith("data: [DONE]\n\n"):
        assert ends == set(messages), f"choices without an end: {response.text}"
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


def check_told(response: httpx.Response, scenario: Scenario) -> None:
    """Each choice has what was said, once and in order, and the calls of the client's tools."""
    choices = told(response)
    assert len(choices) == scenario.asked.get("n", 1)
    for message in choices:
        assert (message["content"] or "") == scenario.said
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        called = [(call["name"], json.loads(call["arguments"])) for call in calls]
        assert called == scenario.called
