"""A text limit that is reached leaves the stream, and with it a memory call that is half there."""

from __future__ import annotations
import json, uuid
import pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.e2e.in_process import served
from tests.e2e.chatting import Person, send, streamed, whole
from tests.support.replies import Gate, Reply, event, wait

SAID = "Fine, I note it. STOP and more and more and more of this, which is beyond all limits."


@pytest.fixture
def model():
    return f"model-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=[whole, streamed])
def person(request, tmp_path, backend, api_key, model):
    with served(create_app(Settings(data_dir=tmp_path), backend.base_url)) as origin:
        yield Person(origin + "/v1", api_key, model, request.param)


def piece(calls=None, finish=None):
    delta = {"tool_calls": calls} if calls else {}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def begun(index, name):
    return {
        "index": index,
        "id": f"call_{index}",
        "type": "function",
        "function": {"name": name, "arguments": ""},
    }


def more(index, text):
    return {"index": index, "function": {"arguments": text}}


@pytest.mark.parametrize("options", [{"stop": ["STOP"]}, {"max_tokens": 3}], ids=str)
def test_what_is_remembered_is_whole_or_not_there(backend, person, options):
    gate = Gate()
    # one network read: the end of the message, and the beginning of the memory call behind it
    first = [
        piece([begun(0, "send_message")]),
        piece([more(0, json.dumps({"message": SAID}))]),
        piece([begun(1, "working_context_append")]),
        piece([more(1, '{"content": "User may eat peanuts')]),
    ]
    one_read = "\n\ndata: ".join(json.dumps(c) for c in first)
    backend.reply(
        event(one_read)
        + wait(gate)
        + event(piece([more(1, ' only if they are boiled: else they are deadly"}')]))
        + event(piece(finish="tool_calls"))
    )
    person.say("May I eat peanuts?", **options)
    gate.open()
    backend.reply(send("ok"))
    person.anew().say("What may I eat?")
    prompt = backend.requests[-1].body["messages"][0]["content"]
    context = prompt[prompt.index("# Working context") :]
    print(context)
    assert "peanuts" not in context or "deadly" in context
