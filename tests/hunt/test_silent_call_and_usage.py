from __future__ import annotations
import json, uuid
import pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.e2e.in_process import served
from tests.e2e.chatting import (
    Person,
    Answer,
    call_in_pieces,
    offered,
    results,
    send,
    streamed,
    whole,
    tool,
    tool_result,
    user,
    raw,
    data_of,
)
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Reply, Usage, call, choices, error, event, text, thoughts


@pytest.fixture
def model():
    return f"model-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=[whole, streamed])
def person(request, tmp_path, backend, api_key, model):
    with served(create_app(Settings(data_dir=tmp_path), backend.base_url)) as origin:
        yield Person(origin + "/v1", api_key, model, request.param)


def test_wrong_argument_then_plain_content(backend, person):
    backend.reply(call("send_message", {"text": "Hello!"}), text("Hello there, how are you?"))
    backend.script(lambda body: text("Hello there, how are you?"))
    answer = person.say("hi")
    assert answer.text == "Hello there, how are you?"
    assert len(backend.requests) == 2


def test_empty_message_then_plain_content(backend, person):
    backend.reply(call("send_message", {"message": ""}), text("Hello there, how are you?"))
    backend.script(lambda body: text("Hello there, how are you?"))
    answer = person.say("hi")
    assert answer.text == "Hello there, how are you?"
    assert len(backend.requests) == 2


def chunk(calls=None, finish=None, content=None):
    delta = {}
    if calls:
        delta["tool_calls"] = calls
    if content is not None:
        delta["content"] = content
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


@pytest.mark.parametrize("options", [{"stop": ["STOP"]}, {"max_tokens": 3}], ids=str)
def test_memory_call_behind_a_stopped_message(backend, person, options):
    one = [
        chunk(
            [
                {
                    "index": 0,
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "send_message", "arguments": ""},
                }
            ]
        ),
        chunk(
            [
                {
                    "index": 0,
                    "function": {
                        "arguments": json.dumps(
                            {
                                "message": "Fine, I note it. STOP and more and more and more of this, a long text which is surely beyond all limits."
                            }
                        )
                    },
                }
            ]
        ),
        chunk(
            [
                {
                    "index": 1,
                    "id": "call_b",
                    "type": "function",
                    "function": {"name": "working_context_append", "arguments": ""},
                }
            ]
        ),
        chunk([{"index": 1, "function": {"arguments": '{"content": "User is allergic to pea'}}]),
    ]
    rest = [
        chunk([{"index": 1, "function": {"arguments": 'nuts and not to walnuts"}'}}]),
        chunk(finish="tool_calls"),
    ]
    head = "".join(f"data: {json.dumps(c)}\n\n" for c in one).encode()
    tail = "".join(f"data: {json.dumps(c)}\n\n" for c in rest).encode()
    reply = Reply()
    for c in one + rest:
        reply += event(c)
    # the network gives the first four events in one read
    backend.reply(reply.but(write_at=(len(head),)))
    answer = person.say("I am allergic to peanuts and not to walnuts", **options)
    print(answer)
    backend.reply(send("ok"))
    person.anew().say("What am I allergic to?")
    prompt = json.dumps(backend.requests[-1].body["messages"][0])
    print(prompt[prompt.find("# Working context") :])
    assert "pea" not in prompt[prompt.find("# Working context") :] or "walnuts" in prompt


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": None, "completion_tokens": 5, "total_tokens": 5},
        {"prompt_tokens": "7"},
        {"prompt_tokens": 12.0, "completion_tokens": 3.0},
    ],
    ids=str,
)
def test_usage_null(backend, person, usage):
    one = chunk(content="Hello")
    one["choices"][0]["finish_reason"] = "stop"
    one["usage"] = usage
    body = f"data: {json.dumps(one)}\n\ndata: [DONE]\n\n".encode()

    def answer(b):
        if b.get("stream"):
            return event(one).but(usage=None)
        w = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello"},
                    "finish_reason": "stop",
                }
            ],
            "usage": usage,
        }
        return Reply(body=json.dumps(w).encode())

    backend.script(answer)
    assert person.say("hi").text == "Hello"
