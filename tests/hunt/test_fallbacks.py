"""What a failed attempt leaves behind for the fallback that answers in its place."""

from __future__ import annotations
import json, uuid, threading, time
from contextlib import ExitStack
import openai, pytest, yaml
from memgpt_proxy.app import create_app
from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import Settings
from tests.e2e.chatting import user
from tests.e2e.in_process import served
from tests.support.backend import ScriptedBackend
from tests.support.replies import Gate, event, text, wait
from tests.support.replies import choices as several


@pytest.fixture
def second():
    with ScriptedBackend() as s:
        yield s


@pytest.fixture
def url(tmp_path, backend, second):
    described = tmp_path / "backends.yaml"
    described.write_text(
        yaml.safe_dump(
            {
                "backends": [
                    {"name": "a", "url": backend.base_url, "models": ["one"], "retries": 0},
                    {"name": "b", "url": second.base_url, "models": ["two"], "retries": 0},
                ],
                "fallbacks": {"one": ["two"]},
            }
        )
    )
    settings = Settings(data_dir=tmp_path / "data", backends_file=described)
    with served(create_app(settings, "", several=read_backends(settings))) as origin:
        yield origin + "/v1"


def piece(delta, index=0, finish=None):
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }


ERR = {"error": {"message": "overloaded", "code": 503, "type": "server_error"}}


def ask(url, **more):
    out = {}
    with openai.OpenAI(base_url=url, api_key="sk-c", max_retries=0) as client:
        for c in client.chat.completions.create(
            model="one", messages=[user("hi")], stream=True, **more
        ):
            for ch in c.choices:
                out[ch.index] = out.get(ch.index, "") + (ch.delta.content or "")
    return out


def test_no_choice_is_told_twice(backend, second, url):
    backend.reply(
        several(text("A zero."), text("A one."))
    )  # from now on its clean answers are streamed
    assert ask(url, n=2) == {0: "A zero.", 1: "A one."}
    gate = Gate()
    backend.reply(event(piece({"content": "A one is told. "}, 1)) + wait(gate) + event(ERR))
    second.script(lambda body: several(text("B zero."), text("B one.")))
    threading.Timer(0.5, gate.open).start()
    try:
        got = ask(url, n=2)
    except openai.APIError as error:
        return  # what has begun cannot be begun anew
    assert "A one" not in got[1], got


def test_a_call_that_broke_off_does_not_mute_the_fallback(backend, second, url):
    head = {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "send_message", "arguments": ""},
    }
    gate = Gate()
    backend.reply(
        (
            event(piece({"tool_calls": [head]}))
            + event(piece({"tool_calls": [{"index": 0, "function": {"arguments": '{"mess'}}]}))
            + event(piece({}))
        ).die_after(events=3)
    )
    second.script(lambda body: text("Hello from two."))
    assert ask(url) == {0: "Hello from two."}
    assert len(second.requests) == 1
