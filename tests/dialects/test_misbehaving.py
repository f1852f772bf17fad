"""Models and servers that misbehave: one row each, with what the person gets.

Never JSON of ours, never silence: a sensible reply, or a clear error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.config import ReplyMode
from tests.dialects.playing import JSON, Body, Told, ask, ask_raw, chunk, read, stream
from tests.leaks.gateway import InProcess, in_process

NO_REPLY, BROKEN = "no_reply", "backend_broken"
FACT = '{"content": "tea", "request_heartbeat": true}'
HI = '{"message": "Hi."}'
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}


def calls(*each: dict[str, Any]) -> str:
    return chunk({"tool_calls": list(each)})


def call(name: Any, arguments: Any, at: int | None = 0, id: str | None = "c1") -> dict[str, Any]:
    place = {} if at is None else {"index": at}
    told = {} if id is None else {"id": id}
    return {**place, **told, "function": {"name": name, "arguments": arguments}}


def step(*each: dict[str, Any], reason: Any = "tool_calls") -> Body:
    return stream(calls(*each), chunk({}, reason))


def says(text: Any, reason: Any = "stop", **delta: Any) -> Body:
    return stream(chunk({"content": text, **delta}), chunk({}, reason))


def whole(message: Any, **more: Any) -> Body:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Body(json.dumps({"id": "c", "choices": [choice], **more}).encode(), JSON)


HELLO, SORRY = step(call("send_message", HI)), says("Sorry.")
SAVE = call("working_context_append", FACT)
SAVED = json.dumps({"name": "working_context_append", "arguments": {"content": "tea"}})
SAYING = json.dumps({"name": "send_message", "arguments": {"message": "Hi."}})
HALVES = ("\\ud83c", "\\udf82")
"""What JavaScript writes of a text that was cut amid one."""
ODD = "Grüße 🎂 漢字"


@dataclass(frozen=True, slots=True)
class Row:
    """The backend's answers, the last again and again; what the client gets; more tests of it."""

    answers: list[Body]
    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    error: str | None = None
    steps: int | None = None
    more: str = ""


ROWS: dict[str, Row] = {
    # What a model writes
    "arguments are no JSON": Row(
        [step(call("working_context_append", "{not JSON")), HELLO],
        "Hi.",
        more="tests/e2e/test_reply.py::test_a_failed_call_goes_on_with_an_error_that_says_why",
    ),
    "arguments of the message are no JSON": Row(
        [step(call("send_message", "Hello you")), HELLO], "Hi."
    ),
    "arguments of the message are cut off": Row(
        [step(call("send_message", '{"message": "Hi.'))], "Hi."
    ),
    "arguments have a trailing comma": Row(
        [step(call("send_message", '{"message": "Hi.",}'))], "Hi."
    ),
    "arguments are an object": Row([step(call("send_message", {"message": "Hi."}))], "Hi."),
    "arguments are missing": Row(
        [step({"index": 0, "function": {"name": "send_message"}}), HELLO], "Hi."
    ),
    "the message is an object": Row(
        [step(call("send_message", '{"message": {"a": 1}}')), HELLO], "Hi."
    ),
    "the message is empty": Row([step(call("send_message", '{"message": ""}')), HELLO], "Hi."),
    "a function that is unknown": Row([step(call("fly", "{}")), HELLO], "Hi."),
    "a function without a name": Row([step(call("", "{}")), HELLO], "Hi."),
    "a function whose name is null": Row([step(call(None, "{}")), HELLO], "Hi."),
    "heartbeats without end": Row(
        [step(SAVE)],
        error=NO_REPLY,
        more="tests/e2e/test_reply.py::test_a_turn_without_reply_is_reminded_and_ends_in_an_error",
    ),
    "the same message with a heartbeat without end": Row(
        [step(call("send_message", '{"message": "Hi.", "request_heartbeat": true}'))], "Hi."
    ),
    "empty answers without end": Row([says("")], error=NO_REPLY),
    "blank answers without end": Row([says(" \n")], error=NO_REPLY),
    "an empty answer": Row([says(""), HELLO], "Hi.", steps=2),
    "an answer of null": Row([says(None), HELLO], "Hi.", steps=2),
    "nothing but the end": Row([stream(), HELLO], "Hi.", steps=2),
    "nothing but thinking": Row([says("<think>Hm.</think>\n"), HELLO], "Hi.", steps=2),
    "a call as content": Row([says(SAVED), says(SAYING)], "Hi."),
    "a call in a fence": Row([says(f"```json\n{SAVED}\n```"), says(f"```\n{SAYING}\n```")], "Hi."),
    "a call between tags": Row([says(f"<tool_call>{SAVED}</tool_call>"), HELLO], "Hi."),
    "a call behind thinking": Row([says(f"<think>{SAVED}</think>{SAYING}")], "Hi."),
    "a call behind a thought": Row([says(f"I should greet.\n{SAYING}")], "Hi."),
    "an alert that is repeated": Row([says("System Alert: Today is Monday, May 4.\nHi.")], "Hi."),
    "an alert that is all of the answer": Row(
        [says("System Alert: The user is still waiting for a reply. Call send_message."), HELLO],
        "Hi.",
        steps=2,
    ),
    "an alert that is repeated in the message": Row(
        [step(call("send_message", '{"message": "System Alert: Today is Monday.\\nHi."}'))], "Hi."
    ),
    "words that sound like an alert": Row(
        [says("System Alert: The disk is full.")], "System Alert: The disk is full."
    ),
    "the arguments of a call alone": Row(
        [says('{"message": "Hi?", "request_heartbeat": false}'), HELLO], "Hi.", steps=2
    ),
    "the arguments of a call alone, in a fence": Row(
        [says('```json\n{"content": "tea", "request_heartbeat": true}\n```'), HELLO], "Hi.", steps=2
    ),
    "a call inside of a line": Row([says(f"As you wish: {SAYING}")], "Hi."),
    "a call in a fence behind thinking, amid prose": Row(
        [says(f"<think>{SAVED}</think>\nSure.\n```json\n{SAYING}\n```\nDone.")], "Hi."
    ),
    "a call as content with its arguments first": Row(
        [says('{"arguments": {"message": "Hi."}, "name": "send_message"}')], "Hi."
    ),
    "calls as content between semicolons": Row([says(f"{SAVED}; {SAYING}")], "Hi."),
    "a call as content in another model's notation": Row(
        [says('<function=send_message>{"message": "Hi."}</function>')],
        "Hi.",
        more="tests/wire/test_notations.py::test_every_split",
    ),
    "a call as content in Python": Row([says('send_message(message="Hi.")')], "Hi."),
    "a call as content that cannot be read": Row([says('send_message("Hi?")'), HELLO], "Hi."),
    "a call as content of a function that is unknown": Row(
        [says('<tool_call>{"name": "fly", "arguments": {}}</tool_call>'), HELLO], "Hi."
    ),
    "the name of a call with a namespace": Row([step(call("functions.send_message", HI))], "Hi."),
    "the name of a call with another namespace": Row(
        [step(call("default_api:send_message", HI))], "Hi."
    ),
    "the name of a call with a number": Row([step(call("functions.send_message:0", HI))], "Hi."),
    "the name of a call with tokens behind": Row(
        [step(call("send_message<|channel|>commentary", HI))], "Hi."
    ),
    "a namespace that comes again with each piece": Row(
        [
            stream(
                calls(call("tools.send_message", HI[:9], None)),
                calls(call("tools.send_message", HI[9:], None)),
                chunk({}, "tool_calls"),
            )
        ],
        "Hi.",
    ),
    "arguments are JSON in a string": Row([step(call("send_message", json.dumps(HI)))], "Hi."),
    "arguments are a list": Row([step(call("send_message", f"[{HI}]")), HELLO], "Hi."),
    "reasoning that looks like a call": Row([says("Hi.", reasoning=SAYING)], "Hi."),
    "a message beside a call of a client's tool": Row(
        [step(call("send_message", HI), call("get_weather", '{"a": 1}', 1, "c2"))],
        "Hi.",
        calls=(("get_weather", {"a": 1}),),
    ),
    "a call as content that is cut off": Row([says(SAVED[:-9]), HELLO], "Hi."),
    "calls as content, one after the other": Row([says(f"{SAVED}\n{SAYING}")], "Hi."),
    "a call as content and as a call": Row(
        [stream(chunk({"content": SAYING}), calls(call("send_message", HI)), chunk({}, "stop"))],
        "Hi.",
    ),
    "several calls at once": Row(
        [step(SAVE, call("archival_storage_search", '{"query": "x"}', 1, "c2")), HELLO],
        "Hi.",
        more="tests/e2e/test_reply.py::test_parallel_calls_run_in_order",
    ),
    "several messages at once": Row(
        [step(call("send_message", HI), call("send_message", '{"message": "Ho."}', 1, "c2"))],
        "Hi.\n\nHo.",
    ),
    "the same message twice at once": Row(
        [step(call("send_message", HI), call("send_message", HI, 1, "c2"))], "Hi."
    ),
    "thoughts in both places": Row(
        [says("<think>Hm.</think>Hi.", reasoning_content="Hm, too.")], "Hi."
    ),
    "thoughts in details": Row([says("Hi.", reasoning_details=[{"text": "Hm."}])], "Hi."),
    "thoughts that the template opened": Row([says("Hm.\n</think>\n\nHi.")], "Hi."),
    "thoughts in the message": Row(
        [step(call("send_message", '{"message": "<think>Hm.</think>\\nHi."}'))], "Hi."
    ),
    "thoughts that never end": Row([says("<think>Hm, hm, hm", "length"), HELLO], "Hi."),
    "thoughts as parts": Row(
        [
            says(
                [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                    {"type": "text", "text": "Hi."},
                ]
            )
        ],
        "Hi.",
    ),
    # What a server makes of it
    "calls without ids": Row([step(call("send_message", HI, id=None))], "Hi."),
    "calls with the same id": Row(
        [step(SAVE, call("send_message", HI, 1, "c1"))],
        "Hi.",
    ),
    "calls of a client's tool with the same id": Row(
        [step(call("get_weather", '{"a": 1}'), call("get_weather", '{"a": 2}', 1))],
        calls=(("get_weather", {"a": 1}), ("get_weather", {"a": 2})),
    ),
    "calls without an index": Row(
        [step(call("working_context_append", FACT, None), call("send_message", HI, None, "c2"))],
        "Hi.",
        more="tests/wire/test_step.py::test_calls_without_index",
    ),
    "calls that all have index 0": Row(
        [step(SAVE, call("send_message", HI, 0, "c2"))],
        "Hi.",
        more="tests/wire/test_step.py::test_calls_that_all_have_index_0",
    ),
    "calls that all have index 0 and no ids": Row(  # Gemini, 2025: the ids are empty
        [
            stream(
                calls(call("get_weather", '{"a": 1}', id="")),
                calls(call("get_weather", '{"a": 2}', id="")),
                chunk({}, "stop"),
            )
        ],
        calls=(("get_weather", {"a": 1}), ("get_weather", {"a": 2})),
    ),
    "calls without an index and without ids": Row(
        [step(call("get_weather", {"a": 1}, None, ""), call("get_weather", {"a": 2}, None, ""))],
        calls=(("get_weather", {"a": 1}), ("get_weather", {"a": 2})),
    ),
    "calls without an index whose arguments are split": Row(
        [
            stream(
                calls(call("get_weather", '{"a"', None)),
                calls({"function": {"arguments": ': {"b": 1}'}}),
                calls({"function": {"arguments": "}"}}),
                calls(call("get_weather", "{}", None, "c2")),
                chunk({}, "stop"),
            )
        ],
        calls=(("get_weather", {"a": {"b": 1}}), ("get_weather", {})),
    ),
    "a name that comes again with each piece": Row(
        [
            stream(
                calls(call("send_message", HI[:9])),
                calls(call("send_message", HI[9:])),
                chunk({}, "tool_calls"),
            )
        ],
        "Hi.",
    ),
    "a name of null or nothing with later pieces": Row(
        [
            stream(
                calls(call("send_message", "")),
                calls(call(None, HI[:9])),
                calls(call("", HI[9:])),
                chunk({}, "tool_calls"),
            )
        ],
        "Hi.",
    ),
    "a name that comes behind its arguments": Row(
        [stream(calls(call(None, HI)), calls(call("send_message", "")), chunk({}, "tool_calls"))],
        "Hi.",
    ),
    "a legacy call": Row(
        [
            stream(
                chunk({"function_call": {"name": "send_message", "arguments": ""}}),
                chunk({"function_call": {"arguments": HI}}),
                chunk({}, "function_call"),
            )
        ],
        "Hi.",
        more="tests/wire/test_step.py::test_the_legacy_function_call",
    ),
    "a legacy call of a client's tool": Row(
        [
            stream(
                chunk({"function_call": {"name": "get_weather", "arguments": '{"a": 1}'}}),
                chunk({}, "function_call"),
            )
        ],
        calls=(("get_weather", {"a": 1}),),
    ),
    "calls that end with stop": Row([step(SAVE, reason="stop"), HELLO], "Hi."),
    "a memory call that length cuts off": Row(
        [step(call("working_context_append", '{"content": "Likes t'), reason="length"), HELLO],
        "Hi.",
        steps=2,
        more="tests/e2e/test_reply.py::test_half_a_note_is_not_stored",
    ),
    "calls that end with length": Row([step(SAVE, reason="length"), HELLO], "Hi."),
    "content that ends with tool_calls": Row([says("Hi.", "tool_calls")], "Hi."),
    "content that ends with a reason of its own": Row([says("Hi.", "eos")], "Hi."),
    "content that ends with an empty reason": Row([says("Hi.", "")], "Hi."),
    "content that ends without a reason": Row([stream(chunk({"content": "Hi."}))], "Hi."),
    "no [DONE]": Row(
        [stream(chunk({"content": "Hi."}), chunk({}, "stop"), done=False)],
        "Hi.",
        more="tests/e2e/test_reply.py::test_plain_content_is_a_reply_however_it_travels",
    ),
    "neither [DONE] nor a reason": Row(
        [stream(chunk({"content": "Hi."}), done=False)],
        error=BROKEN,
        more="tests/e2e/test_failures.py::test_a_backend_that_dies_ends_the_request_with_an_error",
    ),
    "lines that end with CR LF": Row(
        [stream(chunk({"content": "Hi."}, "stop"), end="\r\n")], "Hi."
    ),
    "lines that end with CR": Row([stream(chunk({"content": "Hi."}, "stop"), end="\r")], "Hi."),
    "no blank line at the end": Row(
        [Body(stream(chunk({"content": "Hi."}, "stop"), done=False).data.rstrip())], "Hi."
    ),
    "no space behind data": Row(
        [Body(f"data:{chunk({'content': 'Hi.'}, 'stop')}\n\ndata:[DONE]\n\n".encode())], "Hi."
    ),
    "a mark of byte order": Row([Body(b"\xef\xbb\xbf" + says("Hi.").data)], "Hi."),
    "comments and event names": Row(
        [Body(b": PROCESSING\n\nevent: message\nid: 7\n" + says("Hi.").data)], "Hi."
    ),
    "writes that cut characters": Row([Body(says(ODD).data, size=1)], ODD),
    "content as parts": Row([says([{"type": "text", "text": "Hi."}])], "Hi."),
    "a delta of null": Row(
        [stream(chunk(None), chunk({"content": "Hi."}), chunk(None, "stop"))], "Hi."
    ),
    "fields of null": Row(
        [says("Hi.", role=None, tool_calls=None, function_call=None, refusal=None)], "Hi."
    ),
    "a role with each chunk": Row([says("Hi.", role="assistant")], "Hi."),
    "one JSON object": Row([whole({"role": "assistant", "content": "Hi."})], "Hi."),
    "one JSON object with an error of null": Row([whole({"content": "Hi."}, error=None)], "Hi."),
    "one JSON object with calls": Row(
        [whole({"content": None, "tool_calls": [{"id": "a", **call("send_message", HI, None)}]})],
        "Hi.",
    ),
    "one JSON object with an object for arguments": Row(
        [whole({"tool_calls": [call("send_message", {"message": "Hi."}, None)]})], "Hi."
    ),
    "one JSON object called a stream": Row([Body(whole({"content": "Hi."}).data)], "Hi."),
    "a stream called JSON": Row([Body(says("Hi.").data, JSON)], "Hi."),
    "one JSON object without a message": Row([whole(None), HELLO], "Hi."),
    "one JSON object whose message is no object": Row([whole(7)], error=BROKEN),
    "one JSON object with choices of null": Row([Body(b'{"choices": null}', JSON), HELLO], "Hi."),
    "an error in a stream": Row(
        [stream('{"error": {"message": "Fire.", "code": 500}}')],
        error=BROKEN,
        more="tests/e2e/test_failures.py::test_an_error_in_place_of_an_answer_is_told",
    ),
    "an error of one word": Row([stream('{"error": "Fire."}')], error=BROKEN),
    "an error as one JSON object": Row(
        [Body(b'{"error": {"message": "Fire."}}', JSON)], error=BROKEN
    ),
    "an empty body": Row([Body(b"")], error=BROKEN),
    "an empty JSON body": Row([Body(b"", JSON)], error=BROKEN),
    "a page": Row([Body(b"<html>Hello</html>", "text/html")], error=BROKEN),
    "an event that is no JSON": Row([stream("{no")], error=BROKEN),
    "halves of a character": Row(
        [stream(*(chunk({"content": "Hi.@"}).replace("@", half) for half in HALVES))],
        "Hi.\ufffdHi.\ufffd",
    ),
    "numbers that are none": Row(
        [stream(chunk({"content": "Hi."}, "stop", timings=[float("nan"), float("-inf")]))], "Hi."
    ),
    "an event that is no object": Row([stream("17")], error=BROKEN),
    "empty choices": Row(
        [stream('{"choices": []}', chunk({"content": "Hi."}, "stop"), '{"choices": []}')],
        "Hi.",
        more="tests/e2e/test_reply.py::test_an_empty_stream_event_is_no_reply",
    ),
    "choices of null": Row([stream('{"choices": null}', chunk({"content": "Hi."}, "stop"))], "Hi."),
    "usage in the middle": Row(
        [
            stream(
                '{"choices": [], "usage": {"prompt_tokens": 1}}',
                chunk({"content": "H"}),
                chunk({"content": "i."}, "stop", usage={"prompt_tokens": 1}),
            )
        ],
        "Hi.",
    ),
    "usage of null": Row([stream(chunk({"content": "Hi."}, "stop", usage=None))], "Hi."),
    "an error of null": Row([stream(chunk({"content": "Hi."}, "stop", error=None))], "Hi."),
    "spaces around [DONE]": Row([Body(says("Hi.").data.replace(b"[DONE]", b" [DONE] "))], "Hi."),
    "[DONE] in quotes": Row([Body(says("Hi.").data.replace(b"[DONE]", b'"[DONE]"'))], "Hi."),
    "data over several lines": Row(
        [
            Body(
                b'data: {"choices": [\ndata: {"delta": {"content": "Hi."},\n'
                b'data: "finish_reason": "stop"}\n'
                b"data: ]}\n\ndata: [DONE]\n\n"
            )
        ],
        "Hi.",
    ),
    "no blank lines between events": Row([Body(says("Hi.").data.replace(b"\n\n", b"\n"))], "Hi."),
    "lines of JSON without events": Row(
        [Body(f"{chunk({'content': 'Hi.'})}\n{chunk({}, 'stop')}\n".encode(), JSON)], "Hi."
    ),
    "bytes that are no text": Row(
        [Body(says("Hi\x00.").data.replace(b"\\u0000", b"\xff"))], "Hi\ufffd."
    ),
    "half of a character": Row([Body(says("Hi\x00.").data.replace(b"0000", b"d83c"))], "Hi\ufffd."),
    "a number that is none": Row(
        [Body(says("Hi.", logprobs=0).data.replace(b'"logprobs": 0', b'"logprobs": NaN'))], "Hi."
    ),
    "one JSON object behind a mark of byte order": Row(
        [Body(b"\xef\xbb\xbf" + whole({"content": "Hi."}).data, JSON)], "Hi."
    ),
    "one JSON object as an event": Row([stream(whole({"content": "Hi."}).data.decode())], "Hi."),
    "a choice of another index": Row(  # a gateway that counts the blocks of Claude's answer
        [Body(says("Hi.").data.replace(b'"index": 0', b'"index": 1'))], "Hi."
    ),
    "an error by its object": Row(
        [stream('{"object": "error", "message": "Fire.", "code": 500}')], error=BROKEN, steps=1
    ),
    "an error as a detail": Row([Body(b'{"detail": "Not Found"}', JSON)], error=BROKEN, steps=1),
    # What is no chat completion
    "choices that are no list": Row([stream('{"choices": 7}')], error=BROKEN),
    "a choice that is no object": Row([stream('{"choices": [null]}')], error=BROKEN),
    "a delta that is no object": Row([stream(chunk("Hi."))], error=BROKEN),
    "content that is no text": Row([says(7)], error=BROKEN),
    "calls that are no list": Row([stream(chunk({"tool_calls": 7}))], error=BROKEN),
    "a call that is no object": Row([stream(chunk({"tool_calls": [None]}))], error=BROKEN),
    "a function that is no object": Row(
        [stream(chunk({"tool_calls": [{"index": 0, "function": "fly"}]}))], error=BROKEN
    ),
    "a function's name that is no text": Row([step(call(7, "{}"))], error=BROKEN),
    "usage that is no object": Row([stream(chunk({"content": "Hi."}, usage=7))], error=BROKEN),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with in_process(tmp_path_factory.mktemp("misbehaving"), max_steps=4) as opened:
        yield opened


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("row", ROWS.values(), ids=[*ROWS])
def test_the_person_gets_a_reply_or_an_error(gateway: InProcess, row: Row, streams: bool) -> None:
    tools = {"tools": [WEATHER]} if row.calls else {}
    told, requests = ask(gateway, row.answers, streams=streams, **tools)
    said = Told(row.text, list(row.calls), told.reason, row.error)
    assert told == said
    assert told.error or told.reason
    assert row.steps in (None, len(requests))


BY_CONTENT: dict[str, Row] = {
    "a message by a call": Row([step(call("send_message", HI))], "Hi.", steps=1),
    "a message by a call as content": Row([says(SAYING)], "Hi.", steps=1),
    "a message by a call behind words": Row([says(f"Well.\n{SAYING}")], "Well.\n\n\nHi.", steps=1),
    "a call and words behind it": Row([says(f"{SAVED}\nNoted.")], "Noted."),
    "several calls in one": Row(
        [
            step(call("multi_tool_use.parallel", json.dumps({"tool_uses": [json.loads(SAYING)]}))),
            says("Hi."),
        ],
        "Hi.",
        steps=2,
    ),
}


@pytest.fixture(scope="module")
def by_content(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    directory = tmp_path_factory.mktemp("content")
    with in_process(directory, reply_mode=ReplyMode.CONTENT) as opened:
        yield opened


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("row", BY_CONTENT.values(), ids=[*BY_CONTENT])
def test_a_model_that_is_to_reply_in_content(
    by_content: InProcess, row: Row, streams: bool
) -> None:
    """It may know ``send_message`` from earlier turns, and call it all the same."""
    told, requests = ask(by_content, row.answers, streams=streams)
    assert told == Told(row.text, reason="stop")
    assert row.steps in (None, len(requests))


@pytest.mark.parametrize("asked", [{"n": 2}, {"logprobs": True}], ids=["n", "logprobs"])
def test_a_clean_turn_tells_no_call_that_is_wrapped_in_another(
    gateway: InProcess, asked: dict[str, Any]
) -> None:
    row = BY_CONTENT["several calls in one"]
    choices = [whole({"content": "Hi."})] if "logprobs" in asked else []
    both = json.dumps(
        {"choices": [{"index": at, "message": {"content": "Hi."}} for at in (0, 1)]}
    ).encode()
    answers = [row.answers[0], *choices, Body(both, JSON)]
    response, _ = ask_raw(gateway, answers, **asked)
    assert "send_message" not in response.text
    assert "multi_tool_use" not in response.text
    assert response.json()["choices"][0]["message"]["content"] == "Hi."


def test_one_of_several_choices_that_breaks_off(gateway: InProcess) -> None:
    """The end of the first says nothing of the second."""
    both = [
        f'{{"choices": [{{"index": {at}, "delta": {{"content": "Hi."}}, "finish_reason": {end}}}]}}'
        for at, end in ((0, '"stop"'), (1, "null"))
    ]
    answers = [stream(*both, done=False)]
    response, _ = ask_raw(gateway, answers, n=2)
    assert (response.status_code, read(response).error) == (502, BROKEN)
    whole_answer, _ = ask_raw(gateway, [stream(*both)], n=2)
    assert whole_answer.status_code == 200


ROOT = Path(__file__).parents[2]


def test_the_other_tests_of_a_row_exist() -> None:
    for row in ROWS.values():
        if row.more:
            path, _, name = row.more.partition("::")
            assert f"def {name}(" in (ROOT / path).read_text()
