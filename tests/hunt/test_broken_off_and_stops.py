from __future__ import annotations
import json, uuid, threading, time, socket
from contextlib import ExitStack
import httpx, openai, pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.support.replies import *
from tests.support.replies import choices as several


@pytest.fixture
def url(tmp_path, backend):
    with served(create_app(Settings(data_dir=tmp_path), backend.base_url)) as origin:
        yield origin + "/v1"


def chunk(delta, finish=None, index=0):
    return event(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
        }
    )


def test_stop_then_partial_client_call(url, backend):
    """content model with a tool of the client; stop reached, a call half there."""
    gate = Gate()
    first = [
        {
            "id": "c",
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "tool_calls": [
                            {
                                "index": 0,
                                "id": "a",
                                "type": "function",
                                "function": {
                                    "name": "send_message",
                                    "arguments": '{"message": "Fine STOP and on"}',
                                },
                            }
                        ]
                    },
                }
            ],
        },
        {
            "id": "c",
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "tool_calls": [
                            {
                                "index": 1,
                                "id": "b",
                                "type": "function",
                                "function": {"name": "get_weather", "arguments": '{"city": "Os'},
                            }
                        ]
                    },
                }
            ],
        },
    ]
    backend.reply(
        event("\n\ndata: ".join(map(json.dumps, first)))
        + wait(gate)
        + chunk({"tool_calls": [{"index": 1, "function": {"arguments": 'lo"}'}}]})
        + chunk({}, "tool_calls")
    )
    got = streamed(
        url,
        "k",
        model="m1",
        messages=[user("hi")],
        tools=[tool("get_weather", city="string")],
        stop=["STOP"],
    )
    gate.open()
    print("GOT", got)
    assert not got.calls or got.finish_reason == "tool_calls" and json.loads(got.calls[0][2])


def test_content_then_text_and_memory_in_stop(url, backend):
    pass


def test_usage_details_odd(url, backend):
    c = {
        "id": "c",
        "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": [1]},
    }
    backend.script(lambda b: event(c).but(usage=None))
    assert streamed(url, "k", model="m1", messages=[user("hi")]).text == "Hello"


def test_cancel_after_client_call_then_result(url, backend, api_key):
    """The connection is lost behind a whole call, before the end: the client has run the tool all the same."""
    gate = Gate()
    backend.reply(
        chunk(
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_w",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
                    }
                ]
            }
        )
        + wait(gate)
        + chunk({}, "tool_calls")
    )
    body = {
        "model": "m1",
        "messages": [user("hi")],
        "tools": [tool("get_weather", city="string")],
        "stream": True,
    }
    with httpx.stream(
        "POST",
        f"{url}/chat/completions",
        json=body,
        headers={"authorization": "Bearer k"},
        timeout=10,
    ) as r:
        for line in r.iter_lines():
            if "Oslo" in line:
                break
    backend.requests[0].wait_disconnected()
    time.sleep(0.3)
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_w",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
            }
        ],
    }
    backend.script(lambda b: send("ok"))
    r = raw(
        url,
        "k",
        model="m1",
        messages=[user("hi"), called, tool_result("call_w", "4")],
        tools=body["tools"],
    )
    print(r.status_code, r.text[:300])
    print(json.dumps(backend.requests[-1].body["messages"][1:])[:900])
    assert r.status_code == 200
    ms = backend.requests[-1].body["messages"]
    at = next(i for i, m in enumerate(ms) if m["role"] == "tool")
    assert ms[at - 1].get("tool_calls"), ms[at - 1]


def test_backend_error_after_client_call_then_result(url, backend):
    """The backend breaks off behind a whole call."""
    backend.reply(
        (
            chunk(
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "call_w",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
                        }
                    ]
                }
            )
            + chunk({})
        ).die_after(events=2)
    )
    body = {
        "model": "m1",
        "messages": [user("hi")],
        "tools": [tool("get_weather", city="string")],
        "stream": True,
    }
    r = raw(url, "k", **body)
    print(r.text[-400:])
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_w",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
            }
        ],
    }
    backend.script(lambda b: send("ok"))
    r = raw(
        url,
        "k",
        model="m1",
        messages=[user("hi"), called, tool_result("call_w", "4")],
        tools=body["tools"],
    )
    print(r.status_code, r.text[:300])
    assert r.status_code == 200
    ms = backend.requests[-1].body["messages"]
    at = next(i for i, m in enumerate(ms) if m["role"] == "tool")
    assert ms[at - 1].get("tool_calls"), ms[at - 1]


def test_big_stop(url, backend):
    backend.script(lambda b: text("word " * 12000))
    done = {}

    def attack():
        raw(
            url,
            "mallory",
            model="m1",
            messages=[user("hi")],
            stop=["x" * 60000 + str(i) for i in range(128)],
        )

    t = threading.Thread(target=attack)
    t.start()
    worst = 0
    time.sleep(0.2)
    while t.is_alive():
        a = time.monotonic()
        httpx.get(url.removesuffix("/v1") + "/healthz", timeout=60)
        worst = max(worst, time.monotonic() - a)
        time.sleep(0.02)
    print("worst wait of /healthz", round(worst, 2))
    assert worst < 1
