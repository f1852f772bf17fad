"""What becomes of the fields of an answer: what the client gets of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.chatting import Person, send, tool, user
from tests.e2e.exact import ask
from tests.e2e.prompts import recalled
from tests.support.backend import ScriptedBackend
from tests.support.replies import Reply, call, event, text

HELLO = [user("Hello.")]
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
CUSTOM = {"type": "custom", "custom": {"name": "shell"}}
FUNCTION = tool("get_weather", city="string")["function"]
OSLO = '{"city": "Oslo"}'
DONE = event("[DONE]")


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> Reply:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event({**head, "choices": [choice], **more})


@STREAMS
@pytest.mark.parametrize("clean", [False, True], ids=["", "clean"])
def test_a_refusal_is_a_refusal(
    backend: ScriptedBackend, person: Person, clean: bool, stream: bool
):
    refused = chunk({"refusal": "I can't "}) + chunk({"refusal": "do that."}) + chunk({}, "stop")
    backend.reply(refused + DONE, send("Because."))
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}} if clean else {}
    answer = ask(person, stream, messages=HELLO, **asked)
    assert answer.message["refusal"] == "I can't do that."
    assert not answer.message["content"]
    assert answer.choices[0]["finish_reason"] == "stop"
    said = {"role": "assistant", "content": None, "refusal": "I can't do that."}
    ask(person, stream, messages=[*HELLO, said, user("Why?")])
    assert backend.requests[1].body["messages"][-2:] == [said, user("Why?")]
    assert recalled(backend, person, "can't do") == ["I can't do that."]


CITATION = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 4, "title": "T", "url": "http://a.test/"},
}


@STREAMS
@pytest.mark.parametrize("clean", [False, True], ids=["", "clean"])
def test_sources_stay_with_their_text(
    backend: ScriptedBackend, person: Person, clean: bool, stream: bool
):
    sourced = chunk({"content": "Oslo."}) + chunk({"annotations": [CITATION]}, "stop") + DONE
    backend.reply(sourced)
    asked: dict[str, Any] = {"web_search_options": {}} if clean else {}
    answer = ask(person, stream, messages=HELLO, **asked)
    assert answer.message["content"] == "Oslo."
    assert answer.message["annotations"] == [CITATION]


def test_sources_of_a_thought_are_kept_back(backend: ScriptedBackend, person: Person):
    thought = chunk({"content": "Hm.", "annotations": [CITATION]})
    backend.reply(thought + send("Oslo."))
    answer = ask(person, False, messages=HELLO)
    assert answer.message["content"] == "Oslo."
    assert not answer.message.get("annotations")


MORE: dict[str, Any] = {
    "moderation": {"input": {"type": "error", "code": "c", "message": "m"}},
    "metadata": {"topic": "weather"},
}


@STREAMS
@pytest.mark.parametrize("clean", [False, True], ids=["", "clean"])
def test_what_is_said_of_the_whole_answer_is_told(
    backend: ScriptedBackend, person: Person, clean: bool, stream: bool
):
    backend.reply(chunk({"content": "{}"}) + chunk({}, "stop", **MORE) + DONE)
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}} if clean else {}
    answer = ask(person, stream, messages=HELLO, **asked)
    assert answer.message["content"] == "{}"
    assert {name: answer.fields[name] for name in MORE} == MORE


@STREAMS
@pytest.mark.parametrize("clean", [False, True], ids=["", "clean"])
def test_what_a_backend_says_of_itself_is_told(
    backend: ScriptedBackend, person: Person, clean: bool, stream: bool
):
    told = {"system_fingerprint": "fp_1", "service_tier": "flex"}
    choice = {"index": 0, "delta": {"content": "{}"}, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **told}
    body = f"data: {json.dumps({**head, 'choices': [choice]})}\n\ndata: [DONE]\n\n".encode()
    backend.reply(Reply(body=body, headers={"content-type": "text/event-stream"}))
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}} if clean else {}
    answer = ask(person, stream, messages=HELLO, **asked)
    assert {name: answer.fields[name] for name in told} == told
    assert (answer.fields["id"], answer.fields["model"]) == ("c", "m")


@STREAMS
def test_a_call_of_a_custom_tool_comes_back_and_goes_on(
    backend: ScriptedBackend, person: Person, stream: bool
):
    head = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    more = {"index": 0, "custom": {"input": " -l {"}}
    called = chunk({"tool_calls": [head]}) + chunk({"tool_calls": [more]})
    backend.reply(called + chunk({}, "tool_calls") + DONE, send("A file."))
    answer = ask(person, stream, messages=HELLO, tools=[CUSTOM])
    (told,) = answer.message["tool_calls"]
    told = {name: value for name, value in told.items() if name != "index"}
    shell = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls -l {"}}
    assert told == shell
    assert answer.choices[0]["finish_reason"] == "tool_calls"
    said = {"role": "assistant", "content": None, "tool_calls": [shell]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}
    answer = ask(person, stream, messages=[*HELLO, said, result], tools=[CUSTOM])
    assert answer.message["content"] == "A file."
    assert backend.requests[1].body["messages"][-2:] == [said, result]


def legacy(name: str, arguments: str) -> Reply:
    pieces = [{"name": name, "arguments": ""}, {"arguments": arguments}]
    calls = [chunk({"function_call": each}) for each in pieces]
    return sum([*calls, chunk({}, "function_call"), DONE], Reply())


@STREAMS
@pytest.mark.parametrize("choice", [None, "auto", {"name": "get_weather"}], ids=str)
def test_a_legacy_call_comes_back_and_goes_on(
    backend: ScriptedBackend, person: Person, choice: Any, stream: bool
):
    backend.reply(legacy("get_weather", OSLO), text("4 °C."))
    asked: dict[str, Any] = {"functions": [FUNCTION]}
    forced = {} if choice is None else {"function_call": choice}
    answer = ask(person, stream, messages=HELLO, **asked, **forced)
    called = {"name": "get_weather", "arguments": OSLO}
    assert answer.message["function_call"] == called
    assert not answer.message.get("tool_calls")
    assert answer.choices[0]["finish_reason"] == "function_call"
    said = {"role": "assistant", "content": None, "function_call": called}
    result = {"role": "function", "name": "get_weather", "content": "4 °C"}
    answer = ask(person, stream, messages=[*HELLO, said, result], **asked)
    assert answer.message["content"] == "4 °C."
    assert backend.requests[1].body["messages"][-2:] == [said, result]


@STREAMS
def test_memory_is_used_before_a_legacy_call(
    backend: ScriptedBackend, person: Person, stream: bool
):
    append = json.dumps({"content": "secret fact", "request_heartbeat": True})
    backend.reply(legacy("working_context_append", append), legacy("get_weather", OSLO))
    answer = ask(person, stream, messages=HELLO, functions=[FUNCTION], function_call="auto")
    assert answer.message["function_call"]["name"] == "get_weather"
    assert "secret" not in json.dumps([answer.choices, answer.chunks])
    sent = backend.requests[1].body
    assert sent["messages"][-1]["content"].startswith("Appended.")
    assert [each["name"] for each in sent["functions"]][-1] == "get_weather"
    assert len(sent["functions"]) == 7


AUDIO = {"id": "audio_1", "data": "AAAA", "expires_at": 9, "transcript": "Hello, agate."}
WANTED: dict[str, Any] = {"modalities": ["text", "audio"]}


def test_speech_is_asked_for_whole_and_comes_whole(backend: ScriptedBackend, person: Person):
    message = {"role": "assistant", "content": None, "refusal": None, "audio": AUDIO}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    completion = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    body = json.dumps({**completion, "choices": [choice]}).encode()
    backend.reply(Reply(body=body))
    audio = {"voice": "ash", "format": "wav"}
    answer = ask(person, False, messages=HELLO, **WANTED, audio=audio)
    assert answer.message["audio"] == AUDIO
    sent = backend.requests[0].body
    assert (sent["stream"], sent["audio"], sent["modalities"]) == (
        False, audio, ["text", "audio"],
    )  # fmt: skip
    assert recalled(backend, person, "agate") == ["Hello, agate."]


def test_speech_is_streamed_and_remembered(backend: ScriptedBackend, person: Person):
    pieces = [
        {"id": "audio_1", "transcript": "Hello, "},
        {"data": "AA", "transcript": "agate."},
        {"data": "AA"},
        {"expires_at": 9},
    ]
    spoken = sum([chunk({"audio": piece}) for piece in pieces], Reply())
    backend.reply(spoken + chunk({}, "stop") + DONE, send("Bye."))
    audio = {"voice": "ash", "format": "pcm16"}
    answer = ask(person, True, messages=HELLO, **WANTED, audio=audio)
    assert answer.message["audio"] == AUDIO
    said = {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    ask(person, True, messages=[*HELLO, said, user("Bye.")])
    assert backend.requests[1].body["messages"][-2:] == [said, user("Bye.")]


@STREAMS
@pytest.mark.parametrize(
    ("told", "seen"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter")],
)
def test_the_reason_for_the_end_is_the_backends(
    backend: ScriptedBackend, person: Person, told: str, seen: str, stream: bool
):
    backend.reply(text("Hi.").but(finish_reason=told), text("Hi.").but(finish_reason=told))
    for asked in ({}, {"n": 2}):
        answer = ask(person, stream, messages=HELLO, **asked)
        assert (answer.message["content"], answer.choices[0]["finish_reason"]) == ("Hi.", seen)


@STREAMS
def test_obfuscation_is_not_ours_to_make(backend: ScriptedBackend, person: Person, stream: bool):
    backend.reply(chunk({"content": "Hi."}, obfuscation="xyz") + chunk({}, "stop") + DONE)
    answer = ask(person, stream, messages=HELLO)
    assert answer.message["content"] == "Hi."
    assert all("obfuscation" not in each for each in answer.chunks)


@STREAMS
def test_usage_keeps_its_details(backend: ScriptedBackend, person: Person, stream: bool):
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 1},
    }
    step = chunk({}, "tool_calls", usage=usage)
    search = {"name": "archival_storage_search", "arguments": '{"query": "x"}'}
    calls = chunk({"tool_calls": [{"index": 0, "id": "c1", "function": search}]})
    backend.reply(calls + step + DONE, chunk({"content": "Hi."}, "stop", usage=usage) + DONE)
    options = {"stream_options": {"include_usage": True}} if stream else {}
    told = ask(person, stream, messages=HELLO, **options).fields["usage"]
    assert told["total_tokens"] == 30
    assert told["prompt_tokens_details"] == {"cached_tokens": 8, "audio_tokens": 2}
    details = {"reasoning_tokens": 6, "accepted_prediction_tokens": 2}
    assert told["completion_tokens_details"] == details


def test_a_call_of_both_kinds_keeps_its_order(backend: ScriptedBackend, person: Person):
    custom = {"index": 1, "id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    backend.reply(call("get_weather", OSLO, id="c1") + chunk({"tool_calls": [custom]}))
    tools = [{"type": "function", "function": FUNCTION}, CUSTOM]
    answer = ask(person, True, messages=HELLO, tools=tools)
    assert [(c["index"], c["type"]) for c in answer.message["tool_calls"]] == [
        (0, "function"),
        (1, "custom"),
    ]
