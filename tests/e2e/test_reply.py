"""What a person reads: the reply, all of it, at once, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
import tiktoken

from tests.e2e.chatting import (
    Person,
    call_in_pieces,
    data_of,
    offered,
    raw,
    results,
    send,
    streamed,
    user,
)
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import (
    Gate,
    Reply,
    Usage,
    call,
    event,
    reasoning,
    text,
    thoughts,
    wait,
)

MESSAGE = 'Grüße 🎂! "quoted" \\ back\\slash\nnew line\tand \u2028 ☃ 漢字'
SECRETS = thoughts("secret musing") + call(
    "working_context_append", {"content": "secret fact", "request_heartbeat": True}
)

TRAVELS: list[dict[str, Any]] = [
    {},
    {"crlf": True},
    {"comments": True},
    {"piece": 1},
    {"write_every": 1},
    {"write_every": 3, "crlf": True},
    {"write_every": 11, "comments": True, "piece": 2},
    {"write_at": (1, 60, 61, 62, 300, 301)},
    {"done": False},
    {"done": False, "usage": None},
    {"last_blank_line": False},
    {"done": False, "usage": None, "last_blank_line": False, "crlf": True},
    {"ignore_stream": True},
    {"usage": None},
]


def test_a_message_is_read_in_every_way(backend: ScriptedBackend, anyone: Person):
    backend.reply(thoughts("They greet me.") + send(MESSAGE))
    answer = anyone.say("hello")
    assert (answer.text, answer.finish_reason, answer.calls) == (MESSAGE, "stop", [])


@pytest.mark.parametrize("travel", TRAVELS, ids=str)
@pytest.mark.parametrize("ascii_only", [False, True], ids=["utf-8", "escaped"])
def test_a_message_arrives_whole_however_it_travels(
    backend: ScriptedBackend, person: Person, travel: dict[str, Any], ascii_only: bool
):
    arguments = json.dumps({"message": MESSAGE}, ensure_ascii=ascii_only)
    backend.reply((thoughts("Hm.") + call("send_message", arguments)).but(**travel))
    person.way = streamed
    answer = person.say("hello")
    assert (answer.text, answer.finish_reason) == (MESSAGE, "stop")


@pytest.mark.parametrize("travel", TRAVELS, ids=str)
def test_plain_content_is_a_reply_however_it_travels(
    backend: ScriptedBackend, person: Person, travel: dict[str, Any]
):
    backend.reply(text(MESSAGE).but(**travel))
    person.way = streamed
    answer = person.say("hello")
    assert (answer.text, answer.finish_reason) == (MESSAGE, "stop")


def test_plain_content_is_a_reply_in_every_way(backend: ScriptedBackend, anyone: Person):
    backend.reply(text("Hello there."))
    answer = anyone.say("hello")
    assert (answer.text, answer.finish_reason) == ("Hello there.", "stop")


def test_a_message_is_streamed_while_the_backend_still_waits(
    backend: ScriptedBackend, person: Person
):
    gate = Gate()
    backend.reply(call_in_pieces("send_message", '{"message": "Hel', gate, 'lo."}'))
    _assert_streamed(backend, person, gate, ["Hel", "lo."])


def test_content_is_streamed_once_the_model_is_known_to_speak_so(
    backend: ScriptedBackend, person: Person
):
    gate = Gate()
    backend.reply(text("First."), text("Hel") + wait(gate) + text("lo."))
    assert person.say("hi").text == "First."
    _assert_streamed(backend, person, gate, ["Hel", "lo."])


def test_content_behind_thinking_is_streamed_once_the_model_is_known_to_begin_so(
    backend: ScriptedBackend, person: Person
):
    gate = Gate()
    backend.reply(
        text("Hmm.\n</think>\n\nFirst."), text("Hm</think>Hel") + wait(gate) + text("lo.")
    )
    assert person.say("hi").text == "First."
    _assert_streamed(backend, person, gate, ["Hel", "lo."])


def test_thinking_that_a_message_switches_on_stays_inside(backend: ScriptedBackend, anyone: Person):
    """A template that opens the block only then: what was learned without it says nothing of it."""
    backend.reply(text("First."), text("Hm.</think>Second."), text("Hm.</think>Third."))
    backend.reply(text("Fourth."))
    said = [anyone.say(words).text for words in ("hi /no_think", "hi /think", "hi", "/no_think")]
    assert said == ["First.", "Second.", "Third.", "Fourth."]


def test_what_switches_thinking_counts_as_long_as_the_model_sees_it(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str
):
    """A client that sends its newest message only: the prompt still has what it said before."""
    backend.reply(text("Hm.</think>Yes."), text("So, he").but(finish_reason="length"))
    backend.reply(text("Hm.</think>And yes."))
    said = []
    for words in ("hi /think", "and now?"):
        response = httpx.post(
            f"{gateway.base_url}/chat/completions",
            json={"model": model, "messages": [user(words)]},
            headers={"authorization": f"Bearer {api_key}", "x-memgpt-conversation": "one"},
            timeout=30,
        )
        said.append(response.json()["choices"][0]["message"]["content"])
    assert said == ["Yes.", "And yes."]


def _assert_streamed(backend: ScriptedBackend, person: Person, gate: Gate, pieces: list[str]):
    before = len(backend.requests)
    with (
        openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client,
        client.chat.completions.create(
            model=person.model, messages=[{"role": "user", "content": "hello"}], stream=True
        ) as stream,
    ):
        texts = (c.choices[0].delta.content for c in stream if c.choices)
        said = (said for said in texts if said)
        assert next(said) == pieces[0]
        assert not backend.requests[before].answered.is_set()
        gate.open()
        assert [*said] == pieces[1:]


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_and_memory_calls_stay_inside(
    backend: ScriptedBackend, person: Person, stream: bool
):
    step = reasoning("secret reasoning") + SECRETS
    last = reasoning("secret reasoning") + thoughts("secret thought") + send("Hello.")
    backend.reply(*(reply.but(piece=1000) for reply in (step, last, step, last)))
    for message in ("hi", "hi again"):
        response = raw(
            person.base_url,
            person.api_key,
            model=person.model,
            messages=[user(message)],
            stream=stream,
        )
        assert response.status_code == 200
        assert b"Hello." in response.content
        for hidden in (b"secret", b"working_context", b"send_message", b"reasoning", b"Alert"):
            assert hidden not in response.content


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_stays_inside_beside_plain_content(
    backend: ScriptedBackend, person: Person, stream: bool
):
    reply = (reasoning("secret reasoning") + text("Hello.")).but(piece=1000)
    backend.reply(reply, reply)
    for message in ("hi", "hi again"):
        request: dict[str, Any] = {"model": person.model, "messages": [user(message)]}
        response = raw(person.base_url, person.api_key, **request, stream=stream)
        assert b"Hello." in response.content
        assert b"secret" not in response.content


@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("```json\n", "\n```"), ("<tool_call>", "</tool_call>"), ("[", "]")],
)
def test_a_call_written_as_text_is_run_and_not_shown(
    backend: ScriptedBackend, anyone: Person, before: str, after: str
):
    fact = {"content": "Likes tea", "request_heartbeat": True}
    save = json.dumps({"name": "working_context_append", "arguments": fact})
    say = json.dumps({"name": "send_message", "arguments": {"message": "Noted."}})
    backend.reply(text(before + save + after), text(before + say + after))
    answer = anyone.say("I like tea")
    assert answer.text == "Noted."
    (result,) = results(backend.requests[1])
    assert result.startswith("Appended.")


def test_a_call_written_as_text_is_run_by_a_model_that_speaks_in_content(
    backend: ScriptedBackend, anyone: Person
):
    save = json.dumps({"name": "archival_storage_insert", "arguments": {"content": "A note."}})
    backend.reply(text("Hello."), text(save), text("Noted."))
    anyone.say("hello")
    assert anyone.say("keep a note").text == "Noted."


# Chaining


def test_a_heartbeat_runs_the_model_again_with_the_result(backend: ScriptedBackend, anyone: Person):
    backend.reply(SECRETS, send("Saved."))
    assert anyone.say("remember it").text == "Saved."
    assert results(backend.requests[1]) == ["Appended. Working context: 11 / 8 000 characters."]


def test_a_reply_without_heartbeat_ends_the_turn(backend: ScriptedBackend, person: Person):
    backend.reply(call("working_context_append", {"content": "Likes tea"}) + send("Noted."))
    assert person.say("I like tea").text == "Noted."
    assert len(backend.requests) == 1


def test_a_message_with_heartbeat_is_followed_by_another(backend: ScriptedBackend, anyone: Person):
    backend.reply(send("Let me look.", request_heartbeat=True), send("Found it."))
    assert anyone.say("look it up").text == "Let me look.\n\nFound it."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("archival_storage_search", {"query": "tea"}),
        ("recall_storage_search", {"query": "tea"}),
        ("recall_storage_search_date", {"start_date": "2024-01-01", "end_date": "2024-01-31"}),
    ],
)
def test_a_retrieval_goes_on_by_itself(
    backend: ScriptedBackend, person: Person, name: str, arguments: dict[str, Any]
):
    backend.reply(call(name, arguments), send("Nothing there."))
    assert person.say("search").text == "Nothing there."
    assert results(backend.requests[1]) == ["Showing 0 of 0 results (page 1/1)."]


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("working_context_replace", {"old_content": "a", "new_content": "b"}, "does not occur"),
        ("working_context_append", {}, "content is missing"),
        ("working_context_append", "{not JSON at all", "not a JSON object"),
        ("recall_storage_search", {"query": "x", "page": 0}, "pages count from 1"),
        ("recall_storage_search_date", {"start_date": "x", "end_date": "y"}, "not a date"),
        ("no_such_function", {}, "no function no_such_function"),
    ],
)
def test_a_failed_call_goes_on_with_an_error_that_says_why(
    backend: ScriptedBackend, person: Person, name: str, arguments: Any, why: str
):
    backend.reply(call(name, arguments), send("Sorry."))
    assert person.say("do it").text == "Sorry."
    (result,) = results(backend.requests[1])
    assert result.startswith("Error: ")
    assert why in result


@pytest.mark.parametrize("as_text", [False, True])
def test_half_a_note_is_not_stored(backend: ScriptedBackend, person: Person, as_text: bool):
    half = '{"content": "Likes t'
    cut = text('{"name": "working_context_append", "arguments": ' + half)
    if not as_text:
        cut = call("working_context_append", half)
    backend.reply(cut.but(finish_reason="length"), send("I like it, too."))
    assert person.say("I like tea").text == "I like it, too."
    (result,) = results(backend.requests[1])
    assert result.startswith("Error: the answer was cut off inside this call")
    kept = httpx.get(
        f"{person.base_url.removesuffix('/v1')}/memgpt/working-context",
        headers={"authorization": f"Bearer {person.api_key}"},
    )
    assert kept.json() == {"version": 0, "content": "", "limit": 8000}


def test_the_same_call_again_is_warned_about(backend: ScriptedBackend, person: Person):
    search = call("archival_storage_search", {"query": "tea"})
    backend.reply(search, search, send("I give up."))
    assert person.say("search").text == "I give up."
    assert results(backend.requests[1]) == ["Showing 0 of 0 results (page 1/1)."]
    (warning,) = results(backend.requests[2])
    assert "before in this turn" in warning


def test_parallel_calls_run_in_order(backend: ScriptedBackend, person: Person):
    step = (
        call("working_context_append", {"content": "Tea"}, id="call_1")
        + call("working_context_append", {"content": "Milk"}, id="call_2")
        + call(
            "working_context_replace", {"old_content": "Tea\nMilk", "new_content": "x"}, id="call_3"
        )
        + call("archival_storage_search", {"query": "none"}, id="call_4")
    )
    backend.reply(step, send("Done."))
    assert person.say("do four things").text == "Done."
    assert results(backend.requests[1]) == [
        "Appended. Working context: 3 / 8 000 characters.",
        "Appended. Working context: 8 / 8 000 characters.",
        "Replaced. Working context: 1 / 8 000 characters.",
        "Showing 0 of 0 results (page 1/1).",
    ]
    *_, assistant, _, _, _, _ = backend.requests[1].body["messages"]
    assert [c["id"] for c in assistant["tool_calls"]] == ["call_1", "call_2", "call_3", "call_4"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_without_reply_is_reminded_and_ends_in_an_error(
    backend: ScriptedBackend, person: Person, stream: bool
):
    numbers = iter(range(100))
    backend.script(lambda _: call("working_context_append", {"content": f"fact {next(numbers)}"}))
    with pytest.raises(openai.InternalServerError) as failure:
        person.say("hello", stream=stream)
    assert failure.value.status_code == 502
    assert failure.value.code == "no_reply"
    ends = [request.body["messages"][-1] for request in backend.requests]
    assert "user is still waiting" in ends[1]["content"]
    assert "limit of steps" in ends[-1]["content"]
    assert offered(backend.requests[-1]) == ["send_message"]
    assert len(backend.requests) <= 12


def test_the_last_step_may_only_reply(backend: ScriptedBackend, start_gateway, api_key, model):
    person = Person(start_gateway("--max-steps", "3").base_url, api_key, model)
    backend.reply(
        call("archival_storage_search", {"query": "one"}),
        call("archival_storage_search", {"query": "two"}),
        send("That is all."),
    )
    assert person.say("search on").text == "That is all."
    assert len(offered(backend.requests[1])) == 7
    assert offered(backend.requests[2]) == ["send_message"]


# What the backend says about itself


def test_usage_is_summed_over_the_steps(backend: ScriptedBackend, anyone: Person):
    backend.reply(
        SECRETS.but(usage=Usage(prompt=100, completion=10, cached=64)),
        send("Saved.").but(usage=Usage(prompt=150, completion=20, cached=128)),
    )
    streams = anyone.way.__name__.startswith("streamed")
    options = {"stream_options": {"include_usage": True}} if streams else {}
    usage = anyone.say("remember", **options).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (250, 30, 280)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 192


def test_a_stream_tells_its_usage_only_where_it_is_wanted(backend: ScriptedBackend, person: Person):
    backend.reply(send("Hi."), send("Hi."))
    request: dict[str, Any] = {"model": person.model, "stream": True}
    plain = raw(person.base_url, person.api_key, **request, messages=[user("a")])
    assert not any(e != "[DONE]" and e.get("usage") for e in data_of(plain.content))
    options = {"include_usage": True}
    told = raw(
        person.base_url, person.api_key, **request, messages=[user("b")], stream_options=options
    )
    *others, usage, done = data_of(told.content)
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 110
    assert not any(e.get("usage") for e in others)


def test_id_model_and_time_are_the_backends(backend: ScriptedBackend, anyone: Person):
    first = {"system_fingerprint": "fp_1", "model": "as-served-2026"}
    chunk = {
        "id": "chatcmpl-own",
        "object": "chat.completion.chunk",
        "created": 1_712_345_678,
        "choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}],
    }
    payloads = [json.dumps({**chunk, **first}), "[DONE]"]
    body = "".join(f"data: {payload}\n\n" for payload in payloads).encode()
    backend.reply(Reply(body=body, headers={"content-type": "text/event-stream"}))
    answer = anyone.say("hello")
    assert answer.text == "Hello."
    assert (answer.id, answer.model) == ("chatcmpl-own", "as-served-2026")
    assert answer.created == 1_712_345_678


def test_headers_about_the_call_come_through(backend: ScriptedBackend, person: Person):
    about = {
        "x-request-id": "req_42",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "8.64s",
        "openai-processing-ms": "17",
    }
    backend.reply(send("Hi.").but(headers=about), send("Hi.").but(headers=about))
    request: dict[str, Any] = {"model": person.model, "messages": [user("hi")]}
    for stream, kind in ((False, "application/json"), (True, "text/event-stream; charset=utf-8")):
        response = raw(person.base_url, person.api_key, **request, stream=stream)
        assert {name: response.headers.get(name) for name in about} == about
        assert response.headers["content-type"] == kind


def test_unknown_fields_of_the_request_go_on_untouched(backend: ScriptedBackend, person: Person):
    backend.reply(send("Hi."))
    person.say("hi", temperature=0.25, seed=7, extra_body={"top_k": 40, "nested": {"a": [1, None]}})
    body = backend.requests[0].body
    assert (body["temperature"], body["seed"], body["top_k"]) == (0.25, 7, 40)
    assert body["nested"] == {"a": [1, None]}
    assert body["model"] == person.model


def test_the_client_is_recognisable_to_the_backend(backend: ScriptedBackend, person: Person):
    backend.reply(send("Hi."))
    person.say("hi", extra_headers={"x-custom": "kept", "x-memgpt-conversation": "ours"})
    headers = backend.requests[0].headers
    assert headers["authorization"] == f"Bearer {person.api_key}"
    assert headers["x-custom"] == "kept"
    assert "x-memgpt-conversation" not in headers


# Limits of the visible text


@pytest.mark.parametrize("piece", [1, 2, 3, 50])
@pytest.mark.parametrize("speaks", [send, text], ids=["function", "content"])
def test_stop_ends_the_visible_text(
    backend: ScriptedBackend, anyone: Person, piece: int, speaks: Any
):
    backend.reply(speaks("One STO two STOP three STOP").but(piece=piece))
    answer = anyone.say("count", stop=["never", "no", "nor", "neither", "STOP"])
    assert (answer.text, answer.finish_reason) == ("One STO two ", "stop")
    assert "stop" not in backend.requests[0].body


def test_what_only_begins_like_a_stop_text_is_shown(backend: ScriptedBackend, anyone: Person):
    backend.reply(send("All but ST").but(piece=1))
    answer = anyone.say("count", stop="STOP")
    assert (answer.text, answer.finish_reason) == ("All but ST", "stop")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("piece", [1, 4, 200])
def test_max_tokens_is_about_the_visible_text(
    backend: ScriptedBackend, anyone: Person, encoding: tiktoken.Encoding, name: str, piece: int
):
    long = " ".join(["tea", "milk", "sugar"] * 30)
    backend.reply((thoughts("A long thought. " * 50) + send(long)).but(piece=piece))
    answer = anyone.say("list", **{name: 10})
    assert answer.finish_reason == "length"
    assert long.startswith(answer.text)
    # Cut pieces may take more tokens than the whole text would: never more text than allowed.
    tokens = len(encoding.encode(answer.text))
    assert tokens <= 10
    if piece == 200:
        assert tokens == 10
    sent = backend.requests[0].body
    assert sent[name] > 10, "thoughts and calls need room of their own"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", [-1, 0])
def test_a_limit_below_one_is_the_backends_to_judge(
    backend: ScriptedBackend, anyone: Person, name: str, limit: int
):
    backend.reply(send("one two three"))  # to this one it is no limit, as to llama.cpp
    assert anyone.say("count", **{name: limit}).text == "one two three"
    assert backend.requests[0].body[name] == limit


def test_a_backends_own_length_limit_is_told(backend: ScriptedBackend, anyone: Person):
    backend.reply(send("Once upon a").but(finish_reason="length"))
    answer = anyone.say("tell a story")
    assert (answer.text, answer.finish_reason) == ("Once upon a", "length")


def test_a_stopped_turn_goes_on_in_the_next(backend: ScriptedBackend, person: Person):
    backend.reply(send("One STOP two").but(piece=1), send("Three."))
    person.say("count", stop="STOP")
    assert person.say("go on").text == "Three."
    roles = [message["role"] for message in backend.requests[1].body["messages"]]
    assert roles == ["system", "user", "user", "assistant", "tool", "user"]


def test_an_empty_stream_event_is_no_reply(backend: ScriptedBackend, person: Person):
    """Heartbeat chunks without choices, as some servers send them, are passed over."""
    odd = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    backend.reply(event({**odd, "choices": []}) + send("Hi.") + event({**odd, "choices": []}))
    person.way = streamed
    assert person.say("hi").text == "Hi."


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> Reply:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    said = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event({**said, "choices": [choice]})


def test_a_filtered_answer_is_not_asked_for_again(backend: ScriptedBackend, anyone: Person):
    backend.reply(text("").but(finish_reason="content_filter"))
    answer = anyone.say("do it")
    assert (answer.text, answer.finish_reason) == ("", "content_filter")
    assert len(backend.requests) == 1


def test_a_model_that_once_forgets_the_function_is_heard(backend: ScriptedBackend, person: Person):
    backend.reply(thoughts("A guest.") + call("send_message", {"message": "Hi."}), text("Bye."))
    assert person.say("hi").text == "Hi."
    assert person.say("bye").text == "Bye."
    assert len(backend.requests) == 2
