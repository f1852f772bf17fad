from __future__ import annotations
import json, uuid, threading, time
from contextlib import ExitStack
import httpx, openai, pytest, yaml
from memgpt_proxy.app import create_app
from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import Settings
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.support.replies import *


@pytest.fixture
def url(tmp_path, backend):
    with served(create_app(Settings(data_dir=tmp_path), backend.base_url)) as origin:
        yield origin + "/v1"


def chunk(delta, finish=None):
    return event(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
    )


def c(i, n, a):
    return {
        "index": i,
        "id": f"call_{n}",
        "type": "function",
        "function": {"name": n, "arguments": a},
    }


def ftool(n):
    return {"type": "function", "name": n, "parameters": {"type": "object", "properties": {}}}


def test_ids_of_calls_stay(url, backend):
    backend.reply(
        chunk({"tool_calls": [c(0, "now", ""), c(1, "weather", '{"city": "Oslo"}')]})
        + chunk({}, "tool_calls")
    )
    h = {"authorization": "Bearer k"}
    r = httpx.post(
        f"{url}/responses",
        headers=h,
        json={
            "model": "m",
            "input": "hi",
            "tools": [ftool("now"), ftool("weather")],
            "stream": True,
        },
        timeout=10,
    )
    done = [json.loads(l[6:]) for l in r.text.splitlines() if l.startswith("data: ")][-1][
        "response"
    ]
    told = {o["id"]: o["name"] for o in done["output"]}
    kept = {
        o["id"]: o["name"]
        for o in httpx.get(f"{url}/responses/{done['id']}", headers=h).json()["output"]
    }
    print(told, kept)
    assert told == kept


def test_thinking_learned_from_another(url, backend):
    backend.script(lambda b: text("A plain answer."))
    for n in range(3):
        assert (
            streamed(url, "alice", model="m1", messages=[user(f"hello {n}")]).text
            == "A plain answer."
        )
    backend.script(lambda b: text("The template ends with </think> and so the answer follows."))
    print("mallory", repr(streamed(url, "mallory", model="m1", messages=[user("explain")]).text))
    backend.script(
        lambda b: text("Once upon a time there was a long story").but(finish_reason="length")
    )
    got = streamed(url, "alice", model="m1", messages=[user("a story")])
    assert got.text == "Once upon a time there was a long story"


def test_unary_cancel_in_memory_write(url, backend):
    pass
