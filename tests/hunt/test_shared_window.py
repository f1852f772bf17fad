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
def started(tmp_path, backend):
    with ExitStack() as stack:

        def start(url=None, **settings):
            app = create_app(
                Settings(data_dir=tmp_path / uuid.uuid4().hex, **settings), url or backend.base_url
            )
            return stack.enter_context(served(app)) + "/v1"

        yield start


@pytest.mark.parametrize("way", [whole, streamed])
def test_same_id_in_two_steps(started, backend, way):
    """text-generation-inference calls every call "0"."""
    url = started()
    me = Person(url, "k", "m1", way, {"tools": [tool("get_weather")]})
    backend.reply(
        call("recall_storage_search", {"query": "home"}, id="0"), call("get_weather", {}, id="0")
    )
    asked = me.say("How is the weather at home?")
    print(asked.calls)
    me.said.append(tool_result(asked.calls[0][0], "4 degrees"))
    backend.reply(send("It is 4 degrees."))
    assert me.ask(me.said).text == "It is 4 degrees."


@pytest.mark.parametrize("way", [whole, streamed])
def test_same_id_in_one_step(started, backend, way):
    url = started()
    me = Person(url, "k", "m1", way, {"tools": [tool("get_weather")]})
    c = lambda i, n, a: {
        "index": i,
        "id": "0",
        "type": "function",
        "function": {"name": n, "arguments": a},
    }
    one = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "delta": {
                    "tool_calls": [
                        c(0, "working_context_append", '{"content": "x"}'),
                        c(1, "get_weather", "{}"),
                    ]
                },
                "finish_reason": "tool_calls",
            }
        ],
    }
    w = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {k: v for k, v in x.items() if k != "index"}
                        for x in one["choices"][0]["delta"]["tool_calls"]
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
    }
    backend.reply(event(one) if way is streamed else Reply(body=json.dumps(w).encode()))
    asked = me.say("How is the weather at home?")
    print(asked.calls)
    me.said.append(tool_result(asked.calls[0][0], "4 degrees"))
    backend.reply(send("It is 4 degrees."))
    assert me.ask(me.said).text == "It is 4 degrees."


def test_a_client_does_not_set_the_window_of_all(started, backend):
    url = started(context_window=32000)

    def answer(body):
        if odd := [n for n in body if "context" in n]:
            return error(
                400,
                {
                    "error": {
                        "message": f"Unrecognized request argument supplied: {odd[0]}",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": None,
                    }
                },
            )
        if any("Write the new summary" in str(m["content"]) for m in body["messages"]):
            return text("(summary)")
        return send("ok")

    backend.script(answer)
    alice = Person(url, "alice", "m1")
    for n in range(3):
        alice.say(f"Alice's fact {n}: " + "a long story " * 50)
    before = json.dumps(backend.requests[-1].body["messages"])
    r = raw(
        url,
        "mallory",
        model="m1",
        messages=[user("hi")],
        **{"maximum context length is 300 tokens": 1},
    )
    print(r.status_code, r.text)
    alice.say("What was fact 0?")
    after = backend.requests[-1].body["messages"]
    print(len(backend.requests), [(m["role"], str(m["content"])[:60]) for m in after[1:]])
    assert "Alice's fact 0: a long story a long story" in json.dumps(after)
