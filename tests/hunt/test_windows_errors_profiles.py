from __future__ import annotations
import json, uuid, socket, time, threading, asyncio
from contextlib import ExitStack
import httpx, openai, pytest, yaml
from memgpt_proxy.app import create_app
from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import Settings
from memgpt_proxy.agent.window import Windows, Thresholds
from memgpt_proxy.backend.client import Backend, Timeouts
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.support.backend import ScriptedBackend
from tests.support.replies import *
from tests.support.replies import choices as several


@pytest.fixture
def started(tmp_path, backend):
    with ExitStack() as stack:

        def start(url=None, **settings):
            app = create_app(
                Settings(data_dir=tmp_path / uuid.uuid4().hex, **settings), url or backend.base_url
            )
            return stack.enter_context(served(app)) + "/v1"

        yield start


THRESHOLDS = Thresholds(pressure_at=0.7, flush_at=1.0, flush_to=0.5, reply_reserve=1000)


@pytest.mark.parametrize("first", [503, 500, 429, "timeout"])
async def test_window_after_loading(first):
    n = 0

    async def answer(request):
        nonlocal n
        n += 1
        if n == 1:
            if first == "timeout":
                await asyncio.sleep(5)
            return httpx.Response(
                first if first != "timeout" else 200, json={"error": {"message": "Loading model"}}
            )
        return httpx.Response(200, json={"data": [{"id": "m", "max_model_len": 131072}]})

    b = Backend(
        "http://backend/v1", httpx.MockTransport(answer), api_key=None, timeouts=Timeouts(1, 1)
    )
    w = Windows(None, b, THRESHOLDS)
    print((await w.of("m", [])).size)
    assert (await w.of("m", [])).size == 131072


@pytest.mark.parametrize(
    "body", [b"", b"<html>\n<h1>502 Bad Gateway</h1></html>", b"upstream error"], ids=str
)
def test_error_after_begin(started, backend, api_key, body):
    url = started()
    memory = json.dumps({"content": "x"})
    # the first step says something and goes on
    backend.reply(
        call("send_message", {"message": "One moment.", "request_heartbeat": True}),
        error(502, body, {"content-type": "text/html"}),
    )
    with openai.OpenAI(base_url=url, api_key=api_key, max_retries=0) as client:
        with pytest.raises(openai.APIError) as info:
            got = list(
                client.chat.completions.create(model="m1", messages=[user("hi")], stream=True)
            )
            print(
                "GOT",
                [c.choices[0].delta.content for c in got if c.choices],
                got[-1].choices[0].finish_reason,
            )
    print(repr(info.value))


@pytest.mark.parametrize("body", [b"", b"<html>\n<h1>502 Bad Gateway</h1></html>"], ids=str)
def test_error_after_beat(started, backend, api_key, body):
    url = started(keepalive_seconds=0.2)
    gate = Gate()
    backend.reply(error(502, body, {"content-type": "text/html"}) + wait(gate))
    threading.Timer(1, gate.open).start()
    with openai.OpenAI(base_url=url, api_key=api_key, max_retries=0) as client:
        with pytest.raises(openai.APIError) as info:
            got = list(
                client.chat.completions.create(model="m1", messages=[user("hi")], stream=True)
            )
            print("GOT", got)
    print(repr(info.value))


def test_whole_clean_calls_without_finish_reason(started, backend, api_key):
    url = started()
    c = lambda calls, finish=None: {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": finish}],
    }
    one = {
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
                        {
                            "id": "call_w",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": "{}"},
                        }
                    ],
                },
                "finish_reason": None,
            }
        ],
        "usage": None,
    }
    backend.reply(Reply(body=json.dumps(one).encode()))
    got = whole(
        url,
        api_key,
        model="m1",
        messages=[user("hi")],
        tools=[tool("get_weather")],
        response_format={"type": "json_object"},
    )
    assert got.calls and got.finish_reason == "tool_calls", got


def test_raw_path(started, backend, api_key):
    url = started()
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    for target in [
        "/v1/models/\xc3\xa4".encode("latin-1"),
        b"/v1/models/x?q=\xc3\xa4",
        b"/v1/models?x=" + b"a" * 30000,
        b"/v1/models/" + b"a" * 60000,
        b"/v1/a%00b",
        b"/v1/[::1",
        b"/v1/a b".replace(b" ", b"|"),
        b'/v1/"<>',
    ]:
        with socket.create_connection((host, int(port))) as s:
            s.sendall(
                b"GET "
                + target
                + b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\nConnection: close\r\n\r\n"
            )
            got = b""
            while d := s.recv(65536):
                got += d
        print(target[:40], got[:60])
        assert not got.startswith(b"HTTP/1.1 500"), target[:60]


@pytest.mark.parametrize(
    "profile", ["no_tools", "functions", "alternating", "no_system", "reasoning", "no_tool_choice"]
)
@pytest.mark.parametrize(
    "extra",
    [
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "x", "type": "function"}],
                },
                {"role": "tool", "tool_call_id": "x", "content": "r"},
            ]
        },
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "x", "type": "function", "function": {}}],
                },
                {"role": "tool", "tool_call_id": "x", "content": "r"},
            ]
        },
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "x", "type": "custom", "custom": "s"}],
                },
                {"role": "tool", "tool_call_id": "x", "content": "r"},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": None, "function_call": "auto"},
                {"role": "function", "name": "x", "content": "r"},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": None, "function_call": {}},
                {"role": "function", "content": "r"},
            ]
        },
        {"tools": [{"function": "s"}]},
        {"tools": [{"type": "custom", "custom": {"format": {}}}], "tool_choice": "required"},
        {"tools": [{"type": "custom", "custom": {"format": {}}}]},
        {"tools": [{"type": "web_search"}]},
        {
            "tools": [tool("a")],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "a"}]},
            },
        },
    ],
    ids=lambda e: json.dumps(e)[:80],
)
def test_profile_500(started, backend, api_key, profile, extra):
    url = started(backend_profile=[profile])
    backend.script(lambda body: text("Hello."))
    ms = [user("hi"), *extra.get("messages", []), user("and?")]
    r = raw(url, api_key, model="m1", **{**extra, "messages": ms})
    print(r.status_code, r.text[:300])
    assert r.status_code != 500
