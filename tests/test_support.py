"""The support code itself: the scripted backend and llama.cpp, seen by the ``openai`` package."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wire
from tests.support.backend import ECHO_WHEN_EMPTY, ScriptedBackend
from tests.support.process import ServerProcess, clean_environment, free_port
from tests.support.replies import (
    Gate,
    Reply,
    Usage,
    call,
    choices,
    error,
    event,
    hang,
    reasoning,
    text,
    thoughts,
    wait,
)
from tests.support.tiny_model import write_tiny_model

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(backend: ScriptedBackend):
    with openai.OpenAI(base_url=backend.base_url, api_key="k", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, **more):
    return client.chat.completions.create(model="m", messages=HELLO, **more)


def streamed(client: openai.OpenAI, **more) -> tuple[str, dict[int, list[str]], list]:
    """The content, the calls as [id, name, arguments] by index, and all chunks of one stream."""
    content = ""
    calls: dict[int, list[str]] = {}
    chunks = list(ask(client, stream=True, **more))
    for chunk in chunks:
        for choice in chunk.choices:
            content += choice.delta.content or ""
            for tool_call in choice.delta.tool_calls or []:
                known = calls.setdefault(tool_call.index, ["", "", ""])
                known[0] += tool_call.id or ""
                known[1] += tool_call.function.name or ""
                known[2] += tool_call.function.arguments or ""
    return content, calls, chunks


def said(chunk) -> str:
    return chunk.choices[0].delta.content or ""


STEP = (
    thoughts("She told me her birthday.")
    + call("working_context_append", {"content": "Birthday is February 7"}, id="call_a")
    + call("send_message", '{"message": "Happy birthday 🎂"', id="call_b")
)


def test_one_json_object_says_the_whole_step(backend, client):
    backend.reply(STEP.but(usage=Usage(prompt=20, completion=5, cached=16)))
    answer = ask(client)
    message = answer.choices[0].message
    assert message.content == "She told me her birthday."
    assert [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls] == [
        ("call_a", "working_context_append", '{"content": "Birthday is February 7"}'),
        ("call_b", "send_message", '{"message": "Happy birthday 🎂"'),
    ]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage.total_tokens == 25
    assert answer.usage.prompt_tokens_details.cached_tokens == 16


@pytest.mark.parametrize(
    "travel",
    [
        {},
        {"crlf": True},
        {"comments": True},
        {"write_every": 1},
        {"write_every": 7, "crlf": True, "comments": True},
        {"write_at": (1, 2, 100, 301)},
        {"piece": 1},
        {"done": False},
    ],
    ids=str,
)
def test_a_stream_says_the_same_however_it_travels(backend, client, travel):
    backend.reply(STEP.but(**travel))
    content, calls, chunks = streamed(client)
    assert content == "She told me her birthday."
    assert calls == {
        0: ["call_a", "working_context_append", '{"content": "Birthday is February 7"}'],
        1: ["call_b", "send_message", '{"message": "Happy birthday 🎂"'],
    }
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_usage_is_streamed_when_asked_for(backend, client):
    backend.reply(text("hi"), text("hi"))
    *_, without = streamed(client)
    assert all(chunk.usage is None for chunk in without)
    *_, with_usage = streamed(client, stream_options={"include_usage": True})
    assert with_usage[-1].choices == []
    assert with_usage[-1].usage.prompt_tokens == 100


def test_several_choices_and_reasoning(backend, client):
    backend.reply(choices(text("one"), reasoning("hm") + text("two")))
    answer = ask(client, n=2)
    assert [choice.message.content for choice in answer.choices] == ["one", "two"]
    assert answer.choices[1].message.reasoning_content == "hm"


def test_given_events_and_a_missing_last_blank_line(backend):
    backend.reply(event({"x": 1}).but(last_blank_line=False, usage=None))
    body = {"model": "m", "messages": HELLO, "stream": True}
    response = httpx.post(f"{backend.base_url}/chat/completions", json=body)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert 'data: {"x": 1}\n\n' in response.text
    assert response.text.endswith("data: [DONE]\n")
    assert not response.text.endswith("\n\n")


def test_a_backend_that_ignores_stream(backend):
    backend.reply(text("whole").but(ignore_stream=True))
    body = {"model": "m", "messages": HELLO, "stream": True}
    response = httpx.post(f"{backend.base_url}/chat/completions", json=body)
    assert response.json()["choices"][0]["message"]["content"] == "whole"


def test_errors_arrive_with_status_body_and_headers(backend, client):
    backend.reply(error(429, {"error": {"message": "slow down"}}, {"Retry-After": "7"}))
    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        ask(client)
    assert caught.value.response.headers["retry-after"] == "7"
    backend.reply(error(502, b"<html>"))
    with pytest.raises(openai.InternalServerError) as gateway_error:
        ask(client)
    assert gateway_error.value.response.content == b"<html>"


def read_until_it_breaks(backend: ScriptedBackend) -> bytes:
    body = {"model": "m", "messages": HELLO, "stream": True}
    received: list[bytes] = []
    url = f"{backend.base_url}/chat/completions"
    with (
        httpx.stream("POST", url, json=body) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        received.extend(response.iter_raw())
    return b"".join(received)


def test_dying_after_bytes_sends_exactly_those(backend):
    whole = b"".join(
        write for write in wire.writes(text("hello there"), "m", False) if isinstance(write, bytes)
    )
    backend.reply(text("hello there").die_after(bytes=200))
    assert read_until_it_breaks(backend) == whole[:200]


def test_dying_after_events_sends_exactly_those(backend):
    backend.reply(text("hello there").die_after(events=2))
    assert read_until_it_breaks(backend).count(b"\n\n") == 2


def test_a_hanging_backend_sees_the_client_leave(backend):
    backend.reply(hang(), text("said") + hang())
    body = {"model": "m", "messages": HELLO, "stream": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{backend.base_url}/chat/completions", json=body, timeout=0.2)
    backend.requests[0].wait_disconnected()
    with httpx.stream("POST", f"{backend.base_url}/chat/completions", json=body) as response:
        received = response.iter_text()
        assert any("said" in piece for piece in received)
        assert not backend.requests[1].disconnected.is_set()
    backend.requests[1].wait_disconnected()


def test_an_answered_request_is_no_disconnect(backend, client):
    backend.reply(text("a"), text("b"))
    ask(client)
    streamed(client)
    assert [request.disconnected.is_set() for request in backend.requests] == [False, False]
    assert [request.answered.is_set() for request in backend.requests] == [True, True]


def test_a_gate_holds_the_stream_back(backend, client):
    gate = Gate()
    backend.reply(text("one") + wait(gate) + text("second"))
    stream = ask(client, stream=True)
    assert next(filter(None, map(said, stream))) == "one"
    assert not backend.requests[0].answered.is_set()
    gate.open()
    assert "".join(map(said, stream)) == "second"


def test_a_function_answers_by_the_request(backend, client):
    backend.script(lambda request: text(request["messages"][-1]["content"].upper()))
    assert ask(client).choices[0].message.content == "HELLO"


def test_requests_are_recorded_as_they_came(backend, client):
    backend.reply(text("hi"))
    ask(client, extra_body={"unknown": [1]}, extra_headers={"X-Own": "yes"})
    [request] = backend.requests
    assert request.body == {"model": "m", "messages": HELLO, "unknown": [1]}
    assert json.loads(request.raw) == request.body
    assert request.headers["x-own"] == "yes"
    assert request.headers["authorization"] == "Bearer k"


async def test_async_clients_are_served_at_once(backend):
    gate = Gate()
    backend.reply(wait(gate) + text("a"), wait(gate) + text("b"))
    async with (
        openai.AsyncOpenAI(base_url=backend.base_url, api_key="k", max_retries=0) as client,
        asyncio.TaskGroup() as group,
    ):
        tasks = [
            group.create_task(client.chat.completions.create(model="m", messages=HELLO))
            for _ in range(2)
        ]
        await asyncio.to_thread(backend.wait_for_requests, 2)
        gate.open()
    assert {task.result().choices[0].message.content for task in tasks} == {"a", "b"}


def test_a_request_without_a_reply_is_counted():
    with ScriptedBackend() as backend:
        body = {"model": "m", "messages": HELLO}
        assert httpx.post(f"{backend.base_url}/chat/completions", json=body).status_code == 500
        assert backend.unexpected == 1


def test_stopping_lets_go_of_what_hangs():
    with ScriptedBackend() as backend:
        backend.reply(hang())
        body = {"model": "m", "messages": HELLO}
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{backend.base_url}/chat/completions", json=body, timeout=0.2)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{backend.base_url}/models")


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["scripted"]


@pytest.mark.parametrize("path", ["/embeddings", "/echo/stream", "/echo/gzip"])
def test_other_paths_echo_exact_bytes(backend, path):
    sent = bytes(range(256)) * 3
    headers = {"content-type": "application/x-own"}
    url = f"{backend.base_url}{path}?a=%20b&a=2"
    with httpx.stream("PUT", url, content=sent, headers=headers) as response:
        raw = b"".join(response.iter_raw())
    assert (gzip.decompress(raw) if path.endswith("gzip") else raw) == sent
    assert response.headers["x-echo-method"] == "PUT"
    assert response.headers["x-echo-target"] == f"/v1{path}?a=%20b&a=2"
    assert backend.passed[0].raw == sent


def test_an_empty_request_is_echoed_with_a_fixed_body(backend):
    assert httpx.get(f"{backend.base_url}/files").content == ECHO_WHEN_EMPTY


@given(st.lists(st.integers(0, 2000), max_size=20), st.integers(1, 50), st.booleans())
def test_cuts_change_no_byte(places, every, gated):
    reply = text("hello") + (wait(Gate()) if gated else Reply()) + text("there")
    whole = _joined(reply)
    assert _joined(reply.but(write_at=tuple(sorted(places)))) == whole
    assert _joined(reply.but(write_every=every)) == whole
    assert _joined(reply.die_after(bytes=every)) == whole[:every]
    assert _joined(reply.but(write_every=3).die_after(bytes=every)) == whole[:every]


def _joined(reply: Reply) -> bytes:
    return b"".join(w for w in wire.writes(reply, "m", False) if isinstance(w, bytes))


def test_a_process_that_cannot_start_tells_why(tmp_path: Path):
    log = tmp_path / "log"
    command = ["sh", "-c", "echo no such luck; exit 3"]
    process = ServerProcess(command, free_port(), "/", log, clean_environment())
    with pytest.raises(AssertionError, match="no such luck"):
        process.start()


def test_settings_of_the_developer_stay_outside(monkeypatch):
    monkeypatch.setenv("MEMGPT_CONTEXT_WINDOW", "17")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    environment = clean_environment(MEMGPT_DATA_DIR="/x")
    assert "HTTPS_PROXY" not in environment
    assert "no_proxy" not in environment
    assert "MEMGPT_CONTEXT_WINDOW" not in environment
    assert "OPENAI_API_KEY" not in environment
    assert environment["MEMGPT_DATA_DIR"] == "/x"


def test_the_tiny_model_is_the_same_every_time(tiny_model: Path, tmp_path: Path):
    again = write_tiny_model(tmp_path / "again.gguf")
    assert (
        hashlib.sha256(again.read_bytes()).digest()
        == hashlib.sha256(tiny_model.read_bytes()).digest()
    )


TOOL = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Write a note.",
        "parameters": {
            "type": "object",
            "properties": {"content": {"type": "string", "maxLength": 40}},
            "required": ["content"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.llama
def test_llama_streams_text_and_usage(llama_backend: str):
    with openai.OpenAI(base_url=llama_backend, api_key="k") as client:
        content, _, chunks = streamed(
            client, max_tokens=40, seed=1, stream_options={"include_usage": True}
        )
    assert content
    assert chunks[-1].usage.completion_tokens <= 40


@pytest.mark.llama
def test_llama_calls_a_required_tool_with_valid_arguments(llama_backend: str):
    with openai.OpenAI(base_url=llama_backend, api_key="k") as client:
        _, calls, chunks = streamed(
            client, max_tokens=900, seed=1, tools=[TOOL], tool_choice="required"
        )
    assert calls[0][1] == "note"
    assert set(json.loads(calls[0][2])) == {"content"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
