"""One chunk with two pieces of the same call."""

from __future__ import annotations
import json, uuid, threading, time
from contextlib import ExitStack
import httpx, openai, pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.support.replies import *


@pytest.fixture
def url(tmp_path, backend):
    with served(create_app(Settings(data_dir=tmp_path), backend.base_url)) as origin:
        yield origin + "/v1"


def piece(*calls, finish=None):
    return event(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "delta": {"tool_calls": list(calls)} if calls else {},
                    "finish_reason": finish,
                }
            ],
        }
    )


def begun(name, args=""):
    return {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": args},
    }


def more(args):
    return {"index": 0, "function": {"arguments": args}}


def test_message(url, backend):
    backend.reply(
        piece(begun("send_message", '{"mess'), more('age": "Hel'))
        + piece(more('lo there."}'))
        + piece(finish="tool_calls")
    )
    assert streamed(url, "k", model="m1", messages=[user("hi")]).text == "Hello there."


@pytest.mark.parametrize("options", [{}, {"response_format": {"type": "json_object"}}], ids=str)
def test_clients_call(url, backend, options):
    backend.reply(
        piece(begun("get_weather", '{"ci'), more('ty": "Os'))
        + piece(more('lo"}'))
        + piece(finish="tool_calls")
    )
    got = streamed(
        url,
        "k",
        model="m1",
        messages=[user("hi")],
        tools=[tool("get_weather", city="string")],
        **options,
    )
    assert got.calls[0][2] == '{"city": "Oslo"}'


def test_thinking_of_one_is_not_the_others_loss(url, backend):
    backend.script(lambda b: text("The template ends with </think> and so the answer follows."))
    for n in range(2):
        print(
            "mallory",
            repr(streamed(url, "mallory", model="m1", messages=[user(f"explain {n}")]).text),
        )
    backend.script(
        lambda b: text("Once upon a time there was a long story").but(finish_reason="length")
    )
    got = streamed(url, "alice", model="m1", messages=[user("a story")], max_tokens=2000)
    print(got, len(backend.requests))
    assert got.text == "Once upon a time there was a long story"
