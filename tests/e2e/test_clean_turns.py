"""Turns in which the client gets the backend's own answer, or a call of its own tools.

Memory may be used before it; where the model has nothing to do with memory it is one backend call.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, offered, results, send, tool, tool_result, user
from tests.e2e.exact import Exact, ask
from tests.e2e.prompts import recalled
from tests.support.backend import ScriptedBackend
from tests.support.replies import (
    Gate,
    Reply,
    call,
    choices,
    error,
    event,
    reasoning,
    text,
    thoughts,
    wait,
)

WEATHER = tool("get_weather", city="string")
CLOCK = tool("get_time", zone="string")
OSLO = '{"city": "Oslo"}'
MEMORY = [
    "working_context_append",
    "working_context_replace",
    "archival_storage_insert",
    "archival_storage_search",
    "recall_storage_search",
    "recall_storage_search_date",
]
SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "colour", "schema": SCHEMA, "strict": True},
}
OBJECT = {"type": "json_object"}
FUNCTION = WEATHER["function"]
FORCED = {"type": "function", "function": {"name": "get_weather"}}
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "required",
        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
    },
}
HELLO = [user("Which colour do I like?")]
SEARCH = call("recall_storage_search", {"query": "colour"}, id="call_s")
APPEND = call("working_context_append", {"content": "secret fact"}, id="call_a")
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def plain(answer: Exact) -> str:
    """All that the client has got, to look for what it must not see."""
    return json.dumps([answer.choices, answer.fields, answer.chunks])


def logprobs_chunks() -> tuple[list[dict[str, Any]], Reply]:
    """Two tokens with their probabilities, as the backend streams them."""
    entries = [
        {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}
        for token in ("Bl", "ue")
    ]
    reply = Reply()
    for entry in entries:
        choice = {
            "index": 0,
            "delta": {"content": entry["token"]},
            "logprobs": {"content": [entry], "refusal": None},
            "finish_reason": None,
        }
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        reply += event({**chunk, "choices": [choice]})
    return entries, reply


# One call, where the model has nothing to do with memory

ASKED: dict[str, dict[str, Any]] = {
    "n": {"n": 2},
    "logprobs": {"logprobs": True, "top_logprobs": 0},
    "json_object": {"response_format": OBJECT},
    "json_schema": {"response_format": FORMAT},
    "functions": {"functions": [FUNCTION]},
    "modalities": {"modalities": ["text"], "audio": {"voice": "ash", "format": "pcm16"}},
}


@STREAMS
@pytest.mark.parametrize("asked", ASKED.values(), ids=[*ASKED])
def test_a_clean_turn_is_one_call(
    backend: ScriptedBackend, person: Person, asked: dict[str, Any], stream: bool
):
    backend.reply(choices(text('{"colour": "blue"}'), text('{"colour": "red"}')))
    answer = ask(person, stream, messages=HELLO, **asked)
    assert answer.message["content"] == '{"colour": "blue"}'
    (sent,) = backend.requests
    assert {name: sent.body[name] for name in asked if name != "functions"} == {
        name: value for name, value in asked.items() if name != "functions"
    }


@STREAMS
@pytest.mark.parametrize(
    "asked",
    [{"logprobs": True}, {"n": 2, "tools": [WEATHER], "tool_choice": "none"}],
    ids=["no tools", "none of them"],
)
def test_a_client_gets_no_call_that_it_has_not_offered(
    backend: ScriptedBackend, person: Person, asked: dict[str, Any], stream: bool
):
    backend.reply(call("get_weather", OSLO), text("Blue."))
    answer = ask(person, stream, messages=HELLO, **asked)
    assert "tool_calls" not in answer.message
    assert (answer.message["content"], answer.choices[0]["finish_reason"]) == ("Blue.", "stop")
    assert results(backend.requests[-1]) == ["Error: there is no function get_weather."]


def test_calls_stand_in_place_of_text(backend: ScriptedBackend, person: Person):
    backend.reply(choices(call("get_weather", OSLO), text("Blue."), text("")))
    answer = ask(person, False, messages=HELLO, n=3, tools=[WEATHER])
    assert [choice["message"]["content"] for choice in answer.choices[:2]] == [None, "Blue."]


@STREAMS
def test_a_tool_of_an_unknown_kind_may_be_called(
    backend: ScriptedBackend, person: Person, stream: bool
):
    backend.reply(call("browse", OSLO).but(finish_reason="stop"))
    answer = ask(person, stream, messages=HELLO, tools=[{"type": "browser_search"}])
    assert answer.message["tool_calls"][0]["function"]["name"] == "browse"
    assert answer.choices[0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("asked", ASKED.values(), ids=[*ASKED])
@pytest.mark.parametrize("memory", [SEARCH, APPEND], ids=["search", "append"])
def test_a_step_of_memory_alone_is_not_seen_in_a_stream(
    backend: ScriptedBackend, person: Person, asked: dict[str, Any], memory: Reply
):
    answer = choices(text('{"colour": "blue"}'), text('{"colour": "red"}'))
    backend.reply(answer, memory, answer)
    ask(person, True, messages=HELLO, **asked)  # from now on its text is known to be the answer
    told = ask(person, True, messages=HELLO, **asked)
    assert told.message["content"] == '{"colour": "blue"}'
    ends = [c["finish_reason"] for chunk in told.chunks for c in chunk["choices"]]
    assert len(list(filter(None, ends))) == 2  # one of each choice
    assert len(backend.requests) == 3


@STREAMS
@pytest.mark.parametrize("choice", ["required", FORCED, ALLOWED], ids=str)
def test_a_forced_tool_is_one_call(
    backend: ScriptedBackend, person: Person, choice: Any, stream: bool
):
    backend.reply(thoughts("secret") + call("get_weather", OSLO, id="call_w"), send("4 °C."))
    asked: dict[str, Any] = {"tools": [WEATHER, CLOCK], "tool_choice": choice}
    answer = ask(person, stream, messages=HELLO, **asked)
    (called,) = answer.message["tool_calls"]
    assert called["function"] == {"name": "get_weather", "arguments": OSLO}
    assert answer.choices[0]["finish_reason"] == "tool_calls"
    assert "secret" not in plain(answer)
    (sent,) = backend.requests
    theirs = ["get_weather", "get_time"] if choice == "required" else ["get_weather"]
    assert offered(sent) == [*MEMORY, *theirs]
    assert sent.body["tool_choice"] == "required"
    assert "send_message" not in sent.body["messages"][0]["content"]
    kept = {"role": "assistant", "content": None, "tool_calls": [called]}
    answer = ask(person, stream, messages=[*HELLO, kept, tool_result("call_w", "4 °C")])
    assert answer.message["content"] == "4 °C."


def appended(backend: ScriptedBackend, number: int) -> bool:
    """Whether the fact of ``APPEND`` was saved, once, as a prompt tells it."""
    messages = backend.requests[number].body["messages"]
    told = [message["content"] for message in messages if message["role"] == "tool"]
    return told == ["Appended. Working context: 11 / 8 000 characters."]


# Memory first


@STREAMS
@pytest.mark.parametrize("asked", ASKED.values(), ids=[*ASKED])
def test_memory_is_searched_before_the_answer(
    backend: ScriptedBackend, person: Person, asked: dict[str, Any], stream: bool
):
    answers = choices(text('{"colour": "blue"}'), text('{"colour": "red"}'))
    backend.reply(send("Noted."), thoughts("secret") + SEARCH, answers)
    person.say("My colour is blue.")
    answer = ask(person, stream, messages=HELLO, **asked)
    assert answer.message["content"] == '{"colour": "blue"}'
    assert len(answer.choices) == 2
    assert "secret" not in plain(answer)
    assert "recall_storage" not in plain(answer)
    assert '"My colour is blue."' in results(backend.requests[2])[0]
    assert answer.fields["model"] == person.model


@STREAMS
@pytest.mark.parametrize("choice", ["required", FORCED, ALLOWED], ids=str)
def test_a_call_of_ours_is_not_the_required_one(
    backend: ScriptedBackend, person: Person, choice: Any, stream: bool
):
    backend.reply(APPEND, call("get_weather", OSLO, id="call_w"))
    answer = ask(person, stream, messages=HELLO, tools=[WEATHER], tool_choice=choice)
    assert [each["function"]["name"] for each in answer.message["tool_calls"]] == ["get_weather"]
    assert "secret" not in plain(answer)
    assert backend.requests[1].body["tool_choice"] == "required"
    backend.reply(send("Hello."))
    ask(person, stream, messages=[user("Hello again")])
    assert "secret fact" in backend.requests[2].body["messages"][0]["content"]


@STREAMS
def test_at_the_last_step_the_forced_tool_is_forced_by_name(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str, stream: bool
):
    gateway = start_gateway("--max-steps", "2")
    person = Person(gateway.base_url, api_key, model)
    backend.reply(SEARCH, call("get_weather", OSLO, id="call_w"))
    answer = ask(person, stream, messages=HELLO, tools=[WEATHER, CLOCK], tool_choice=FORCED)
    assert answer.message["tool_calls"][0]["function"]["name"] == "get_weather"
    assert offered(backend.requests[1]) == ["get_weather", "get_time"]
    assert backend.requests[1].body["tool_choice"] == FORCED


@STREAMS
def test_a_model_that_only_ever_calls_memory_comes_to_the_forced_tool(
    backend: ScriptedBackend, person: Person, stream: bool
):
    facts = [call("archival_storage_insert", {"content": f"fact {n}"}) for n in range(3)]
    backend.reply(*facts, call("get_weather", OSLO, id="call_w"))
    answer = ask(person, stream, messages=HELLO, tools=[WEATHER], tool_choice="required")
    assert answer.message["tool_calls"][0]["id"] == "call_w"
    assert offered(backend.requests[3]) == ["get_weather"]


@STREAMS
def test_an_answer_that_another_call_follows_is_asked_for_again(
    backend: ScriptedBackend, person: Person, stream: bool
):
    """Of several choices one calls memory: all are asked for again after it."""
    backend.reply(choices(text("secret"), APPEND), choices(text("Blue."), text("Red.")))
    answer = ask(person, stream, messages=HELLO, n=2)
    assert [choice["message"]["content"] for choice in answer.choices] == ["Blue.", "Red."]
    assert "secret" not in plain(answer)
    assert appended(backend, 1)


@STREAMS
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_the_answer_does_not_cut_memory_calls(
    backend: ScriptedBackend, person: Person, field: str, stream: bool
):
    cut = call("working_context_append", '{"content": "sec').but(finish_reason="length")
    backend.reply(cut, APPEND, text("{}"))
    answer = ask(person, stream, messages=HELLO, response_format=OBJECT, **{field: 16})
    assert answer.message["content"] == "{}"
    assert "sec" not in plain(answer)
    first, aside, last = (request.body for request in backend.requests)
    assert (first[field], aside[field], last[field]) == (16, 16 + 1024, 16)
    assert "response_format" not in aside
    assert appended(backend, 2)


@STREAMS
def test_a_message_that_is_called_is_the_answer(
    backend: ScriptedBackend, person: Person, stream: bool
):
    """A model that always speaks by send_message does so even where it is not offered."""
    backend.reply(send('{"colour": "blue"}'))
    answer = ask(person, stream, messages=HELLO, response_format=FORMAT)
    assert answer.message["content"] == '{"colour": "blue"}'
    assert answer.choices[0]["finish_reason"] == "stop"
    assert "send_message" not in plain(answer)


# Backends that take no functions beside it


@STREAMS
def test_a_backend_that_cannot_combine_them_is_asked_without(
    backend: ScriptedBackend, person: Person, stream: bool
):
    refused = error(400, {"error": {"message": "No tools with a response format."}})
    backend.reply(refused, text('{"colour": "blue"}'), text('{"colour": "red"}'))
    for colour in ("blue", "red"):
        answer = ask(person, stream, messages=HELLO, response_format=FORMAT)
        assert json.loads(answer.message["content"]) == {"colour": colour}
    assert [len(offered(request)) for request in backend.requests] == [6, 0, 0]
    assert all(request.body["response_format"] == FORMAT for request in backend.requests)


@STREAMS
def test_a_clients_own_mistake_is_its_own(backend: ScriptedBackend, person: Person, stream: bool):
    told = {"error": {"message": "Bad schema", "type": "t", "param": "response_format", "code": 1}}
    backend.reply(error(400, {"error": {"message": "About tools"}}), error(400, told))
    headers = {"authorization": f"Bearer {person.api_key}"}
    asked = {"model": person.model, "messages": HELLO, "stream": stream, "response_format": FORMAT}
    url = f"{person.base_url}/chat/completions"
    response = httpx.post(url, json=asked, headers=headers, timeout=30)
    assert (response.status_code, response.json()) == (400, told)
    assert offered(backend.requests[1]) == []


@STREAMS
@pytest.mark.parametrize(
    "asked",
    [
        {"prediction": {"type": "content", "content": "The whole text."}},
        {"web_search_options": {"search_context_size": "low"}},
        {"functions": [FUNCTION], "function_call": {"name": "get_weather"}},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_takes_no_functions_is_asked_for_alone(
    backend: ScriptedBackend, person: Person, asked: dict[str, Any], stream: bool
):
    backend.reply(text("The whole text."))
    answer = ask(person, stream, messages=HELLO, **asked)
    assert answer.message["content"] == "The whole text."
    (sent,) = backend.requests
    assert {name: sent.body[name] for name in asked} == asked
    assert "tools" not in sent.body
    assert recalled(backend, person, "colour") == [HELLO[0]["content"]]


@STREAMS
def test_operators_may_keep_memory_out_of_them(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str, stream: bool
):
    gateway = start_gateway("--clean-turns", "plain")
    person = Person(gateway.base_url, api_key, model)
    backend.reply(text("{}"), call("get_weather", OSLO, id="call_w"))
    assert ask(person, stream, messages=HELLO, response_format=OBJECT).message["content"] == "{}"
    ask(person, stream, messages=HELLO, tools=[WEATHER], tool_choice=FORCED)
    assert [offered(request) for request in backend.requests] == [[], ["get_weather"]]
    assert backend.requests[1].body["tool_choice"] == FORCED


# While it arrives


def test_json_is_streamed_as_it_comes(backend: ScriptedBackend, person: Person):
    gate = Gate()
    backend.reply(text('{"colour": ') + wait(gate) + text('"blue"}'))
    seen = until(person, gate, '{"colour": ', response_format=OBJECT)
    assert seen == '{"colour": "blue"}'


def test_text_of_a_model_that_is_known_is_streamed_as_it_comes(
    backend: ScriptedBackend, person: Person
):
    gate = Gate()
    backend.reply(text("Blue."), text("Bl") + wait(gate) + text("ue."))
    ask(person, True, messages=HELLO, n=2)
    assert until(person, gate, "Bl", n=2) == "Blue."


def until(person: Person, gate: Gate, awaited: str, **request: Any) -> str:
    """Open the gate once this text is there; return the whole."""
    body = {"model": person.model, "messages": HELLO, "stream": True, **request}
    headers = {"authorization": f"Bearer {person.api_key}"}
    url, seen = f"{person.base_url}/chat/completions", ""
    with httpx.stream("POST", url, json=body, headers=headers, timeout=15) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                told = json.loads(line.removeprefix("data: "))["choices"]
                seen += "".join(choice["delta"].get("content") or "" for choice in told)
            if seen == awaited:
                gate.open()
    return seen


# What must not be lost, and what must not be seen


@STREAMS
def test_several_choices_come_back_whole(backend: ScriptedBackend, person: Person, stream: bool):
    backend.reply(choices(text("Red."), text("Green."), text("Blue.")))
    answer = ask(person, stream, messages=HELLO, n=3, stream_options=usage(stream))
    told = [(choice["index"], choice["message"]["content"]) for choice in answer.choices]
    assert told == [(0, "Red."), (1, "Green."), (2, "Blue.")]
    assert [choice["finish_reason"] for choice in answer.choices] == ["stop"] * 3
    assert answer.fields["usage"]["total_tokens"] == 110


def usage(stream: bool) -> Any:
    return {"include_usage": True} if stream else None


@STREAMS
def test_interleaved_choices_stay_apart(backend: ScriptedBackend, person: Person, stream: bool):
    pieces = [(0, "Re"), (1, "Gr"), (0, "d."), (1, "een.")]
    said = [piece(index, {"content": text}) for index, text in pieces]
    ends = [piece(0, {}, "stop"), piece(1, {}, "length"), event("[DONE]")]
    backend.reply(sum([*said, *ends], Reply()))
    answer = ask(person, stream, messages=HELLO, n=2)
    assert [choice["message"]["content"] for choice in answer.choices] == ["Red.", "Green."]
    assert [choice["finish_reason"] for choice in answer.choices] == ["stop", "length"]


def piece(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> Reply:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event({**chunk, "choices": [choice]})


@STREAMS
def test_a_choice_whose_end_was_not_told_is_ended(
    backend: ScriptedBackend, person: Person, stream: bool
):
    backend.reply(event_only("Red."))
    answer = ask(person, stream, messages=HELLO, n=2)
    assert answer.choices[0]["finish_reason"] == "stop"


@STREAMS
def test_a_call_whose_end_was_not_told_is_the_answer(
    backend: ScriptedBackend, person: Person, stream: bool
):
    function = {"name": "get_weather", "arguments": "{}"}
    calls = [{"id": "w", "type": "function", "function": function}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    told = {"index": 0, "message": message, "finish_reason": None}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [told]}
    backend.reply(Reply(body=json.dumps(whole).encode()))
    asked = {"tools": [tool("get_weather")], "response_format": {"type": "json_object"}}
    (choice,) = ask(person, stream, messages=HELLO, **asked).choices
    assert [made["function"]["name"] for made in choice["message"]["tool_calls"]] == ["get_weather"]
    assert choice["finish_reason"] == "tool_calls"


def event_only(said: str) -> Reply:
    """A stream in which nothing follows the text but ``[DONE]``."""
    return piece(0, {"content": said}) + event("[DONE]")


@STREAMS
def test_logprobs_come_back_whole(backend: ScriptedBackend, person: Person, stream: bool):
    entries, reply = logprobs_chunks()
    backend.reply(reply)
    answer = ask(person, stream, messages=HELLO, logprobs=True, top_logprobs=0)
    assert answer.message["content"] == "Blue"
    assert answer.choices[0]["logprobs"]["content"] == entries
    assert backend.requests[0].body["logprobs"] is True
    assert backend.requests[0].body["top_logprobs"] == 0


@STREAMS
@pytest.mark.parametrize("asked", ASKED.values(), ids=[*ASKED])
def test_no_reasoning_is_seen(
    backend: ScriptedBackend, person: Person, asked: dict[str, Any], stream: bool
):
    backend.reply(reasoning("secret") + text('<think>secret</think>{"a": 1}'))
    answer = ask(person, stream, messages=HELLO, **asked)
    assert answer.message["content"] == '{"a": 1}'
    assert "secret" not in plain(answer)


@STREAMS
def test_a_clean_answer_is_remembered(backend: ScriptedBackend, person: Person, stream: bool):
    backend.reply(
        text('{"colour": "ultramarine"}'),
        call("recall_storage_search", {"query": "ultramarine"}),
        send("It was that."),
    )
    ask(person, stream, messages=HELLO, response_format=FORMAT)
    person.anew().say("What was it?")
    (result,) = results(backend.requests[2])
    assert result.startswith("Showing 1 of 1 results (page 1/1): ")
    assert '{"colour": "ultramarine"}' in result


@STREAMS
def test_a_clean_step_is_put_back_when_the_history_comes_again(
    backend: ScriptedBackend, person: Person, stream: bool
):
    backend.reply(SEARCH, text("{}"), send("Bye."))
    answer = ask(person, stream, messages=HELLO, response_format=OBJECT)
    said = {"role": "assistant", "content": answer.message["content"]}
    ask(person, stream, messages=[*HELLO, said, user("Thanks.")])
    roles = [message["role"] for message in backend.requests[2].body["messages"]]
    assert roles == ["system", "user", "user", "assistant", "tool", "assistant", "user"]


def test_what_was_shown_of_an_answer_that_broke_off_is_kept(
    backend: ScriptedBackend, person: Person
):
    backend.reply(text('{"colour": "topaz"}' * 3).die_after(events=9))
    with pytest.raises(openai.APIError):
        ask(person, True, messages=HELLO, response_format=OBJECT)
    assert HELLO[0]["content"] in recalled(backend, person, "colour")
