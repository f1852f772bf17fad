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

from tests.dialects.playing import JSON, Body, Told, ask, chunk, stream
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
        more="tests/e2e/test_failures.py::test_an_error_inside_the_backends_stream_is_told",
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


ROOT = Path(__file__).parents[2]


def test_the_other_tests_of_a_row_exist() -> None:
    for row in ROWS.values():
        if row.more:
            path, _, name = row.more.partition("::")
            assert f"def {name}(" in (ROOT / path).read_text()
