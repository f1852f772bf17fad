"""The recursive summary: by the backend where it answers, an extract where it does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import date
from itertools import count

import httpx
import pytest

from memgpt_proxy.agent.summarizer import Summarizer
from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.memory.alerts import from_application, message_archived, today
from memgpt_proxy.stores.records import Node, Role
from memgpt_proxy.telemetry import Telemetry
from tests.agent.build import COUNTER
from tests.stores.build import message

Answer = Callable[[httpx.Request], httpx.Response]


def summarizer(
    answer: Answer, tokens: int = 64, model: str | None = None, seconds: float = 60.0
) -> Summarizer:
    backend = Backend(
        "http://backend/v1",
        httpx.MockTransport(answer),
        api_key=None,
        timeouts=Timeouts(1, 1),
    )
    return Summarizer(backend, COUNTER, Telemetry(), tokens=tokens, model=model, seconds=seconds)


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


def told_by(script: Scripted) -> str:
    """What a request tells of the evicted messages."""
    [request] = script.asked
    told: str = request["messages"][1]["content"]
    return told.split("\nMessages:\n")[1]


def entries(*held: dict) -> str:
    return json.dumps(held)


def calling(name: str, arguments: str) -> dict:
    function = {"name": name, "arguments": arguments}
    call = {"id": "c", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def test_what_nobody_said_and_nobody_told_is_left_out() -> None:
    script = Scripted("ok")
    hidden = entries(
        calling("archival_storage_search", "{}"),
        {"role": "tool", "tool_call_id": "c", "content": "Showing 1 of 1 results"},
    )
    searched = message("m1", role=Role.ASSISTANT, entries=hidden)
    waiting = entries({"role": "user", "content": "System Alert: The user is still waiting."})
    alerted = message("m2", role=Role.ASSISTANT, entries=waiting)
    assert await fold(summarizer(script), [searched, alerted], "As before.") == "As before."
    assert script.asked == []


async def test_what_a_clients_tool_has_told_is_folded_in() -> None:
    script = Scripted("ok")
    called = entries(calling("weather", '{"city": "Lisbon"}'))
    result = entries({"role": "tool", "tool_call_id": "c", "content": "21 degrees,\nno wind"})
    evicted = [
        message("m0", "how is the weather?"),
        message("m1", role=Role.ASSISTANT, entries=called),
        message("m2", role=Role.TOOL, entries=result),
        message("m3", "Warm.", role=Role.ASSISTANT),
    ]
    await fold(summarizer(script), evicted)
    assert told_by(script).splitlines() == [
        "user: how is the weather?",
        'assistant called weather({"city": "Lisbon"})',
        "result: 21 degrees, no wind",
        "assistant: Warm.",
    ]


async def test_a_result_that_was_archived_is_told_so() -> None:
    script = Scripted("ok")
    alert = message_archived("288 000", 240)["content"]
    held = {"role": "tool", "tool_call_id": "c", "content": "page " * 400 + f"…\n\n{alert}"}
    await fold(summarizer(script), [message("m0", role=Role.TOOL, entries=entries(held))])
    head, archived = told_by(script).splitlines()
    assert head.startswith("result: page page")
    assert archived.startswith("Message Archived. The message above is 288 000 characters long")


async def test_days_and_archived_documents_are_folded_in() -> None:
    script = Scripted("ok")
    book = "It was a dark and stormy night. " * 9000
    held = [today(date(2024, 2, 7)), {"role": "user", "content": book[:2000]}]
    pasted = message("m0", book, entries=entries(*held, message_archived("288 000", 240)))
    asked = from_application("Be brief.")
    told = message("m1", role=Role.SYSTEM, entries=entries(asked))
    await fold(summarizer(script), [pasted, told])
    day, said, archived, application = told_by(script).splitlines()
    assert day == "Today is Wednesday, February 7, 2024."
    assert said == f"user: {book}"[:1000]
    assert archived.startswith("Message Archived. The message above is 288 000 characters long")
    assert application == "Message from the application: Be brief."


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


LONG_TEXTS = {
    "words": "word " * 10_000,
    "one line without a space": "Zm9vYmFy" * 10_000,
    "three bytes each": "記憶" * 10_000,
    "four bytes each": "🎂" * 10_000,
}


@pytest.mark.parametrize("room", [400, 1536, 7000])
@pytest.mark.parametrize("content", LONG_TEXTS.values(), ids=LONG_TEXTS)
async def test_the_request_keeps_to_the_room_whatever_was_said(content: str, room: int) -> None:
    """The summary so far may be of a larger window."""
    script = Scripted("ok")
    await fold(summarizer(script, tokens=512), spoken(*[content] * 9), content[:4000], room)
    [request] = script.asked
    assert COUNTER.messages(request["messages"]) <= room
    assert f"user: {content[:20]}"[:20] in request["messages"][1]["content"]


async def test_images_have_no_place_in_it() -> None:
    script = Scripted("ok")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    parts = [{"type": "text", "text": "my cat"}, image]
    shown = message("m0", "my cat", entries=entries({"role": "user", "content": parts}))
    await fold(summarizer(script), [shown])
    assert told_by(script) == "user: my cat"


@pytest.mark.parametrize(("room", "bound"), [(800, 100), (1536, 192), (100_000, 512)])
async def test_the_bound_shrinks_with_the_window(room: int, bound: int) -> None:
    for script in (Scripted("word " * 5000), fails_with(500)):
        written = await fold(
            summarizer(script, tokens=512), spoken("hi there"), "word " * 5000, room=room
        )
        assert bound - 2 <= COUNTER.text(written.removesuffix("…")) <= bound
    assert await fold(summarizer(Scripted("")), [], "word " * 5000, room=room) != "word " * 5000


async def test_thinking_is_no_part_of_it() -> None:
    script = Scripted("<think>\nLet me see.\n</think>\n\nChad met James.")
    assert await fold(summarizer(script), spoken("hi")) == "Chad met James."


def fails_with(status: int) -> Answer:
    return lambda _: httpx.Response(status, json={"error": {"message": "no"}})


def is_away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no", request=request)


def breaks_off(_: httpx.Request) -> httpx.Response:
    events = (
        b'data: {"choices": [{"delta": {"content": "He"}}]}\n\ndata: {"error": "overloaded"}\n\n'
    )
    return httpx.Response(200, content=events, headers={"content-type": "text/event-stream"})


def streams(*deltas: dict, finish_reason: str | None = None, done: bool = False) -> Answer:
    """An answer that comes as a stream."""
    choices: list[dict] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason})
    events = [f"data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices]
    body = "".join([*events, "data: [DONE]\n\n" if done else ""]).encode()
    headers = {"content-type": "text/event-stream"}
    return lambda _: httpx.Response(200, content=body, headers=headers)


def times_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no", request=request)


CALL = {"index": 0, "id": "c", "function": {"name": "read", "arguments": "{}"}}

FAILING: dict[str, Answer] = {
    "times out": times_out,
    "ends too early": streams({"content": "He"}),
    "only calls tools": streams({"tool_calls": [CALL]}, finish_reason="tool_calls", done=True),
    "only reasons": streams({"reasoning_content": "Hm."}, finish_reason="stop", done=True),
    "only thinks": streams({"content": "<think>Hm."}, finish_reason="length", done=True),
    "refuses in words": streams({"refusal": "I cannot."}, finish_reason="stop", done=True),
    "is filtered": streams({"content": "He"}, finish_reason="content_filter", done=True),
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


async def test_thinking_that_the_template_opened_is_no_summary() -> None:
    """Of a model whose name tells so; where reasoning comes apart, the content is the summary."""
    cut = streams({"content": "Let me think."}, finish_reason="length", done=True)
    assert await fold(summarizer(cut, model="qwq"), spoken("hi"), "Before.") == (
        "- user: hi\nBefore."
    )
    whole = streams({"content": "Hm.</think>They met."}, finish_reason="stop", done=True)
    assert await fold(summarizer(whole, model="qwq"), spoken("hi")) == "They met."
    apart = {"reasoning_content": "Hm.", "content": "They"}
    told = streams(apart, {"content": " met."}, finish_reason="length", done=True)
    assert await fold(summarizer(told, model="qwq"), spoken("hi")) == "They met."


async def test_what_tools_have_told_is_in_the_extract() -> None:
    result = entries({"role": "tool", "tool_call_id": "c", "content": "21 degrees"})
    evicted = [message("m0", "how warm?"), message("m1", role=Role.TOOL, entries=result)]
    written = await fold(summarizer(fails_with(500)), evicted)
    assert written == "- result: 21 degrees\n- user: how warm?"


class Endless(httpx.AsyncByteStream):
    """A stream that never ends: it says ``delta`` ``times`` over, then nothing any more."""

    def __init__(self, delta: dict, times: int | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        self.event = f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
        self.times = times
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in count() if self.times is None else range(self.times):
            yield self.event
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True

    def __call__(self, _: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, stream=self, headers=headers)


async def test_a_summary_without_end_is_cut() -> None:
    endless = Endless({"content": "word "})
    async with asyncio.timeout(10):
        written = await fold(summarizer(endless), spoken("hi"))
    assert COUNTER.text(written.removesuffix("…")) <= 64
    assert written.startswith("word word")
    assert endless.closed


@pytest.mark.parametrize("says", [{"content": "He"}, {"reasoning_content": "Hm."}])
async def test_a_writer_that_takes_too_long_is_left(says: dict) -> None:
    stuck = Endless(says, times=3)
    async with asyncio.timeout(10):
        written = await fold(summarizer(stuck, seconds=0.01), spoken("hi"), "As before.")
    assert written == "- user: hi\nAs before."
    assert stuck.closed


async def test_an_extract_is_bounded_too_and_keeps_the_newest() -> None:
    evicted = spoken(*(f"message {n}" for n in range(200)))
    written = await fold(summarizer(fails_with(500)), evicted, "Long ago.")
    assert COUNTER.text(written) <= 65
    assert written.startswith("- user: message 198\n- user: message 196\n")
