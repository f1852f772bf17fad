"""The recursive summary: by the backend where it answers, an extract where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from memgpt_proxy.agent.summarizer import Summarizer
from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.stores.records import Node, Role
from memgpt_proxy.telemetry import Telemetry
from tests.agent.build import COUNTER
from tests.stores.build import message

Answer = Callable[[httpx.Request], httpx.Response]


def summarizer(answer: Answer, tokens: int = 64, model: str | None = None) -> Summarizer:
    backend = Backend(
        "http://backend/v1",
        httpx.MockTransport(answer),
        api_key=None,
        timeouts=Timeouts(1, 1),
    )
    return Summarizer(backend, COUNTER, Telemetry(), tokens=tokens, model=model)


def completion(content: str) -> httpx.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    return httpx.Response(200, json={"object": "chat.completion", "choices": [choice]})


class Scripted:
    """Answers with ``content`` and keeps the requests' bodies."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.asked: list[dict] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        return completion(self.content)


def spoken(*texts: str) -> list[Node]:
    roles = (Role.USER, Role.ASSISTANT)
    return [message(f"m{n}", text, role=roles[n % 2]) for n, text in enumerate(texts)]


async def fold(by: Summarizer, evicted: list[Node], summary: str = "", room: int = 4000) -> str:
    return await by.fold(summary, evicted, model="a-model", room=room, headers=[])


async def test_the_backend_folds_what_was_said_into_the_summary() -> None:
    script = Scripted(" Chad met James at six flags. \n")
    evicted = spoken("we met at\nsix flags", "How nice!")
    written = await fold(summarizer(script), evicted, "The user is Chad.")
    assert written == "Chad met James at six flags."
    [request] = script.asked
    assert request["model"] == "a-model"
    assert "tools" not in request
    told = request["messages"][1]["content"]
    assert "Summary so far:\nThe user is Chad.\n" in told
    assert told.endswith("user: we met at six flags\nassistant: How nice!")


async def test_another_model_may_write_it() -> None:
    script = Scripted("ok")
    await fold(summarizer(script, model="small"), spoken("hi"))
    assert script.asked[0]["model"] == "small"


async def test_what_nobody_said_is_left_out() -> None:
    script = Scripted("ok")
    tool = message("t", "42 degrees", role=Role.TOOL)
    assert await fold(summarizer(script), [tool, message("m", "")], "As before.") == "As before."
    assert script.asked == []


async def test_it_is_bounded() -> None:
    written = await fold(summarizer(Scripted("word " * 500)), spoken("hi"))
    assert COUNTER.text(written.removesuffix("…")) <= 64
    assert written.startswith("word word")
    assert written.endswith("word…")


async def test_the_request_keeps_to_the_room_and_to_the_newest() -> None:
    script = Scripted("ok")
    texts = [f"message number {n}: " + "six flags " * 10 for n in range(100)]
    await fold(summarizer(script), spoken(*texts), room=600)
    told = script.asked[0]["messages"][1]["content"]
    assert "message number 99:" in told
    assert "message number 0:" not in told
    assert COUNTER.messages(script.asked[0]["messages"]) < 600


async def test_one_endless_message_is_cut() -> None:
    script = Scripted("ok")
    await fold(summarizer(script), spoken("word " * 10_000))
    assert len(script.asked[0]["messages"][1]["content"]) < 1200


def fails_with(status: int) -> Answer:
    return lambda _: httpx.Response(status, json={"error": {"message": "no"}})


def is_away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no", request=request)


def breaks_off(_: httpx.Request) -> httpx.Response:
    events = (
        b'data: {"choices": [{"delta": {"content": "He"}}]}\n\ndata: {"error": "overloaded"}\n\n'
    )
    return httpx.Response(200, content=events, headers={"content-type": "text/event-stream"})


FAILING: dict[str, Answer] = {
    "refuses": fails_with(429),
    "is broken": fails_with(500),
    "is away": is_away,
    "answers nonsense": lambda _: httpx.Response(200, content=b"data: <html>\n\n"),
    "breaks off": breaks_off,
    "says nothing": lambda _: completion("  "),
    "answers an error": lambda _: httpx.Response(200, json={"error": {"message": "no"}}),
}


@pytest.mark.parametrize("answer", FAILING.values(), ids=FAILING)
async def test_an_extract_stands_in(answer: Answer) -> None:
    evicted = spoken("I am Chad", "Hi Chad!", "my bf is james")
    written = await fold(summarizer(answer), evicted, "They talked before.")
    assert written == "- user: my bf is james\n- user: I am Chad\nThey talked before."


async def test_an_extract_is_bounded_too_and_keeps_the_newest() -> None:
    evicted = spoken(*(f"message {n}" for n in range(200)))
    written = await fold(summarizer(fails_with(500)), evicted, "Long ago.")
    assert COUNTER.text(written) <= 65
    assert written.startswith("- user: message 198\n- user: message 196\n")
