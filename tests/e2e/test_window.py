"""A window smaller than assumed: learned from the backend's refusal, unseen by the client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import tiktoken

from tests.conftest import StartGateway
from tests.e2e.chatting import WAYS, Person, assistant, raw, send, tool, user
from tests.e2e.prompts import contents, search
from tests.support.backend import Recorded, ScriptedBackend
from tests.support.replies import Reply, call, error, event, text

SUMMARY_TASK = "You keep the summary"
WORDS = "tea milk sugar bread butter honey salt pepper rice beans corn oats".split()

Script = Callable[[dict[str, Any]], Reply]
Refuse = Callable[[int, int, int], Reply]
"""Refuses a request: window, prompt and tokens asked for the answer."""


def words(number: int, length: int) -> str:
    """So many words, nearly each of them one token, that no other number gives."""
    return f"number {number}: " + " ".join(WORDS[(number + n) % len(WORDS)] for n in range(length))


def openai(window: int, prompt: int, answer: int) -> Reply:
    told = f"This model's maximum context length is {window} tokens. However, "
    if answer:
        told += (
            f"you requested {prompt + answer} tokens ({prompt} in the messages, {answer} in the "
            "completion). Please reduce the length of the messages or completion."
        )
    else:
        told += (
            f"your messages resulted in {prompt} tokens. Please reduce the length of the messages."
        )
    kind = "invalid_request_error"
    body = {"message": told, "type": kind, "param": "messages", "code": "context_length_exceeded"}
    return error(400, {"error": body})


def vllm(window: int, prompt: int, answer: int) -> Reply:
    """It stops counting where the window is exceeded."""
    told = (
        f"This model's maximum context length is {window} tokens. However, you requested {answer} "
        f"output tokens and your prompt contains at least {window - answer + 1} input tokens, for "
        f"a total of at least {window + 1} tokens."
    )
    body = {"message": told, "type": "BadRequestError", "param": "input_tokens", "code": 400}
    return error(400, {"error": body})


def llama_cpp(window: int, prompt: int, answer: int) -> Reply:
    told = "the request exceeds the available context size, try increasing it"
    kind = "exceed_context_size_error"
    counts = {"n_prompt_tokens": prompt, "n_ctx": window}
    return error(400, {"error": {"code": 400, "message": told, "type": kind, **counts}})


def groq(window: int, prompt: int, answer: int) -> Reply:
    told = "Please reduce the length of the messages or completion."
    return error(400, {"error": {"message": told, "code": "context_length_exceeded"}})


def open_router(window: int, prompt: int, answer: int) -> Reply:
    """Its status is 200, since it began before it knew."""
    told = (
        f"This endpoint's maximum context length is {window} tokens. However, you requested about "
        f"{prompt} tokens ({prompt} of text input). Please reduce the length of either one."
    )
    return error(200, {"error": {"message": told, "code": 400}})


def in_stream(window: int, prompt: int, answer: int) -> Reply:
    """The error is the stream's first event."""
    told = llama_cpp(window, prompt, answer).body or b""
    return error(200, b"data: " + told + b"\n\n", {"content-type": "text/event-stream"})


def after_the_role(window: int, prompt: int, answer: int) -> Reply:
    """A chunk that says nothing comes before the error."""
    told = (llama_cpp(window, prompt, answer).body or b"").decode()
    return event(told).but(write_every=100_000)


def after_the_role_is_read(window: int, prompt: int, answer: int) -> Reply:
    return after_the_role(window, prompt, answer).but(write_every=None)


REFUSALS = [openai, vllm, llama_cpp, groq, open_router, in_stream]


@pytest.fixture
def windowed(backend: ScriptedBackend, encoding: tiktoken.Encoding) -> Callable[..., Script]:
    """Scripts the backend as one that refuses what exceeds its window."""

    def script(window: int, refuse: Refuse, answer: Script) -> Script:
        def model(body: dict[str, Any]) -> Reply:
            prompt = prompt_tokens(encoding, body)
            asked = body.get("max_tokens") or 0
            if prompt + asked > window:
                return refuse(window, prompt, asked)
            return (text("So far.") if is_summary(body) else answer(body)).but(usage=None)

        backend.script(model)
        return model

    return script


def prompt_tokens(encoding: tiktoken.Encoding, body: dict[str, Any]) -> int:
    """A prompt's tokens as a server would count them, four for each message's frame."""
    texts = [json.dumps(tool) for tool in body.get("tools", ())]
    for message in body["messages"]:
        texts.append(message.get("content") or "")
        texts += [json.dumps(call["function"]) for call in message.get("tool_calls") or ()]
    frames = 4 * len(body["messages"])
    return frames + sum(len(encoding.encode_ordinary(each)) for each in texts)


def is_summary(body: dict[str, Any]) -> bool:
    return body["messages"][0]["content"].startswith(SUMMARY_TASK)


def turns(backend: ScriptedBackend) -> list[Recorded]:
    return [request for request in backend.requests if not is_summary(request.body)]


def yes(_: dict[str, Any]) -> Reply:
    return send("Yes.")


def history(messages: int, length: int) -> list[dict[str, Any]]:
    """A conversation that was had without the gateway."""
    speakers = (user, assistant)
    return [speakers[n % 2](words(n, length)) for n in range(messages)]


@pytest.mark.parametrize("refuse", REFUSALS)
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_prompt_found_too_long_is_cut_and_sent_again(
    backend: ScriptedBackend,
    person: Person,
    encoding: tiktoken.Encoding,
    windowed: Callable[..., Script],
    refuse: Refuse,
    way: str,
) -> None:
    windowed(4096, refuse, yes)
    person.way = WAYS[way]
    person.said = history(30, 150)
    answer = person.say("the newest")
    assert (answer.text, answer.finish_reason) == ("Yes.", "stop")
    refused, *_, taken = turns(backend)
    assert prompt_tokens(encoding, refused.body) > 4096
    assert prompt_tokens(encoding, taken.body) <= 4096
    assert contents(taken)[-1] == "the newest"
    # The window is known from now on.
    sent = len(turns(backend))
    assert person.say("and the next").text == "Yes."
    assert len(turns(backend)) == sent + 1


@pytest.mark.parametrize("refuse", [after_the_role, after_the_role_is_read])
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_refusal_before_any_word_is_healed(
    backend: ScriptedBackend,
    person: Person,
    encoding: tiktoken.Encoding,
    windowed: Callable[..., Script],
    refuse: Refuse,
    way: str,
) -> None:
    windowed(4096, refuse, yes)
    person.way = WAYS[way]
    person.said = history(30, 150)
    answer = person.say("the newest")
    assert (answer.text, answer.finish_reason) == ("Yes.", "stop")
    assert len(turns(backend)) == 2
    assert prompt_tokens(encoding, turns(backend)[-1].body) <= 4096


def test_a_window_told_is_not_guessed_at(
    backend: ScriptedBackend, person: Person, windowed: Callable[..., Script]
) -> None:
    windowed(4096, openai, yes)
    person.said = history(30, 150)
    person.say("the newest")
    assert len(turns(backend)) == 2


def test_messages_too_long_for_the_window_learned_go_to_archival_storage(
    backend: ScriptedBackend,
    person: Person,
    encoding: tiktoken.Encoding,
    windowed: Callable[..., Script],
) -> None:
    windowed(4096, openai, yes)
    person.said = [user(words(n, 1200)) for n in range(3)]
    person.said.append(user(f"{words(3, 1000)} zoisite"))
    assert person.ask(person.said).text == "Yes."
    first, second = turns(backend)
    assert not any("Message Archived" in each for each in contents(first))
    assert contents(second)[-1].startswith("System Alert: Message Archived.")
    assert prompt_tokens(encoding, second.body) <= 4096
    found = search(backend, person, "archival_storage_search", query="zoisite")
    assert found.startswith("Showing 1 of 1 results")


def test_a_turn_that_was_begun_anew_goes_on_as_any(
    backend: ScriptedBackend, person: Person, windowed: Callable[..., Script]
) -> None:
    def model(body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["role"] == "tool":
            return send("Noted.")
        fact = {"content": "Likes tea", "request_heartbeat": True}
        return call("working_context_append", fact)

    windowed(4096, openai, model)
    person.said = history(30, 150)
    assert person.say("I like tea.").text == "Noted."
    *_, called, answered = turns(backend)
    *before, step, result = answered.body["messages"]
    assert before == called.body["messages"]
    assert step["tool_calls"][0]["function"]["name"] == "working_context_append"
    assert "Likes tea" not in result["content"]
    assert len(turns(backend)) == 3
    windowed(4096, openai, yes)
    person.say("and?")
    assert step in turns(backend)[-1].body["messages"], "what it did is part of its history"


def test_a_later_step_is_healed_too(
    backend: ScriptedBackend,
    person: Person,
    encoding: tiktoken.Encoding,
    windowed: Callable[..., Script],
) -> None:
    for number in range(12):
        backend.reply(send("Yes.").but(usage=None))
        person.anew().say(words(number, 300))

    def model(body: dict[str, Any]) -> Reply:
        if any(message["role"] == "tool" for message in body["messages"]):
            return send("It was tea.")
        return call("recall_storage_search", {"query": "number"})

    windowed(3072, openai, model)
    before = len(turns(backend))
    assert person.say("What was it?").text == "It was tea."
    asked, refused, taken = turns(backend)[before:]
    assert prompt_tokens(encoding, asked.body) <= 3072 < prompt_tokens(encoding, refused.body)
    assert prompt_tokens(encoding, taken.body) <= 3072
    assert [m["role"] for m in taken.body["messages"][-2:]] == ["assistant", "tool"]


@pytest.mark.parametrize("refuse", [openai, vllm, groq])
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_an_answer_asked_for_too_long_is_asked_for_shorter(
    backend: ScriptedBackend,
    person: Person,
    encoding: tiktoken.Encoding,
    windowed: Callable[..., Script],
    refuse: Refuse,
    way: str,
) -> None:
    windowed(8000, refuse, yes)
    person.way = WAYS[way]
    assert person.say("hello", max_tokens=7900).text == "Yes."
    first, *_, last = turns(backend)
    assert contents(last) == contents(first)
    assert last.body["max_tokens"] >= 2000
    assert prompt_tokens(encoding, last.body) + last.body["max_tokens"] <= 8000
    sent = len(turns(backend))
    assert person.say("again", max_tokens=7900).text == "Yes."
    assert len(turns(backend)) == sent + 1


def test_a_backend_that_says_less_than_the_operator_is_believed(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    api_key: str,
    model: str,
    windowed: Callable[..., Script],
) -> None:
    windowed(4096, openai, yes)
    gateway = start_gateway("--context-window", "16000")
    person = Person(gateway.base_url, api_key, model, said=history(40, 150))
    assert person.say("the newest").text == "Yes."
    assert len(turns(backend)) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("refuse", [openai, vllm, llama_cpp, groq])
def test_what_no_window_can_hold_gets_the_backends_own_error(
    backend: ScriptedBackend,
    person: Person,
    windowed: Callable[..., Script],
    refuse: Refuse,
    stream: bool,
) -> None:
    """The client's instructions alone are longer than the window: nothing of them is cut."""
    model = windowed(4096, refuse, yes)
    instructions = {"role": "system", "content": words(0, 5000)}
    request = {"model": person.model, "messages": [instructions, user("hi")], "stream": stream}
    response = raw(person.base_url, person.api_key, **request)
    assert response.status_code == 400
    assert response.content == model(backend.requests[-1].body).body
    assert 1 <= len(backend.requests) <= 4


@pytest.mark.parametrize("refuse", [openai, vllm, llama_cpp, groq])
def test_a_backend_that_never_accepts_is_asked_four_times_at_the_most(
    backend: ScriptedBackend, person: Person, windowed: Callable[..., Script], refuse: Refuse
) -> None:
    windowed(300, refuse, yes)
    messages = [*history(40, 150), user("the newest")]
    response = raw(person.base_url, person.api_key, model=person.model, messages=messages)
    assert response.status_code == 400
    assert "error" in response.json()
    assert len(turns(backend)) <= 4


def test_an_error_amid_an_answer_is_not_healed(backend: ScriptedBackend, person: Person) -> None:
    told = {"message": "prompt is too long", "code": "context_length_exceeded"}
    backend.reply(text("So, ").but(done=False) + event({"error": told}))
    asked = {"model": person.model, "messages": [user("hi")], "max_tokens": 500}
    response = raw(person.base_url, person.api_key, **asked)
    assert response.status_code == 502
    assert len(backend.requests) == 1


OTHERS = {
    "tokens per minute": error(
        413,
        {
            "error": {
                "message": "Request too large for model `m` on tokens per minute (TPM): Limit 8000,"
                " Requested 8894, please reduce your message size and try again.",
                "code": "rate_limit_exceeded",
            }
        },
    ),
    "output limit": error(
        400,
        {
            "error": {
                "message": "max_tokens is too large: 9000. This model supports at most 4096 "
                "completion tokens, whereas you provided 9000.",
                "code": None,
            }
        },
    ),
}


@pytest.mark.parametrize("refusal", OTHERS.values(), ids=OTHERS)
def test_other_refusals_are_passed_on_at_once(
    backend: ScriptedBackend, person: Person, refusal: Reply
) -> None:
    backend.reply(refusal)
    response = raw(person.base_url, person.api_key, model=person.model, messages=[user("hi")])
    assert (response.status_code, response.content) == (refusal.status, refusal.body)


def test_a_client_does_not_set_the_window_of_others(
    backend: ScriptedBackend, person: Person
) -> None:
    """Backends repeat a client's own words: it can have them say anything of a window."""
    backend.reply(send("Noted."))
    person.say(words(1, 500))
    name = "maximum context length is 300 tokens"
    told = {"message": f"Unrecognized request argument supplied: {name}", "code": None}
    backend.script(lambda body: error(400, {"error": told}) if name in body else send("Yes."))
    request = {"model": person.model, "messages": [user("hi")], name: 1}
    response = raw(person.base_url, f"{person.api_key}-other", **request)
    assert (response.status_code, response.json()) == (400, {"error": told})
    assert person.say("the newest").text == "Yes."
    assert words(1, 500) in contents(turns(backend)[-1])


def test_a_clean_step_is_healed(
    backend: ScriptedBackend, person: Person, windowed: Callable[..., Script]
) -> None:
    windowed(4096, openai, lambda _: text('{"yes": true}'))
    person.said = history(32, 150)
    answer = person.say("the newest", response_format={"type": "json_object"})
    assert answer.text == '{"yes": true}'
    assert len(turns(backend)) == 2


def test_a_clients_call_and_its_result_stay_together(
    backend: ScriptedBackend,
    person: Person,
    encoding: tiktoken.Encoding,
    windowed: Callable[..., Script],
) -> None:
    windowed(4096, openai, yes)
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    messages = [
        *history(30, 150),
        user("look"),
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": words(1, 1500)},
    ]
    assert person.ask(messages, tools=[tool("look")]).text == "Yes."
    last = turns(backend)[-1].body["messages"]
    assert [message["role"] for message in last[-2:]] == ["assistant", "tool"]
    assert prompt_tokens(encoding, turns(backend)[-1].body) <= 4096


def test_what_was_refused_is_stored_once(
    backend: ScriptedBackend, person: Person, windowed: Callable[..., Script]
) -> None:
    windowed(4096, openai, yes)
    person.said = history(30, 150)
    person.said[0] = user("my locker code is kyanite-7731")
    person.say("the newest")
    found = search(backend, person, "recall_storage_search", query="kyanite-7731")
    assert found.startswith("Showing 1 of 1 results")
