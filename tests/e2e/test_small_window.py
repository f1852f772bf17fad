"""A small window: pressure, flushes, summaries, and messages larger than the room left."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import tiktoken

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, assistant, send, user
from tests.e2e.prompts import contents, messages_of, recalled, remember, search, system
from tests.support.backend import Recorded, ScriptedBackend
from tests.support.replies import Gate, Reply, call, error, text, thoughts, wait

SUMMARY_TASK = "You keep the summary"


def is_summary(body: dict[str, Any]) -> bool:
    return body["messages"][0]["content"].startswith(SUMMARY_TASK)


WORDS = "tea milk sugar bread butter honey salt pepper rice beans corn oats".split()


def sentence(number: int, length: int = 60) -> str:
    """Some words, each one token or two, that no other number gives."""
    return f"number {number}: " + " ".join(WORDS[(number + n) % len(WORDS)] for n in range(length))


def counted(encoding: tiktoken.Encoding, recorded: Recorded) -> int:
    """Tokens of a request's texts: messages, calls and the functions' declarations."""
    texts = [json.dumps(tool) for tool in recorded.body.get("tools", ())]
    for message in recorded.body["messages"]:
        texts.append(message.get("content") or "")
        texts += [json.dumps(call["function"]) for call in message.get("tool_calls") or ()]
    return sum(len(encoding.encode_ordinary(each)) for each in texts)


@pytest.fixture
def small(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
) -> Callable[..., Person]:
    """Somebody whose model sees few tokens at a time."""

    def person(window: int, *options: str) -> Person:
        gateway = start_gateway("--context-window", str(window), *options)
        return Person(gateway.base_url, api_key, model)

    return person


def turns(backend: ScriptedBackend) -> list[Recorded]:
    """The requests that are no summaries."""
    return [request for request in backend.requests if not is_summary(request.body)]


def summaries(backend: ScriptedBackend) -> list[Recorded]:
    return [request for request in backend.requests if is_summary(request.body)]


def test_pressure_is_signalled_once_a_fill(
    backend: ScriptedBackend, small: Callable[..., Person], encoding: tiktoken.Encoding
):
    person = small(4096)
    backend.script(lambda body: text("So far.") if is_summary(body) else send("Yes."))
    number = 0
    while not summaries(backend):
        number += 1
        assert number < 60, "the queue was never flushed"
        person.say(sentence(number))
    told = [
        [n for n, words in enumerate(contents(r)) if "Memory Pressure" in words]
        for r in itertools.takewhile(lambda r: not is_summary(r.body), backend.requests)
    ]
    first = next(n for n, places in enumerate(told) if places)
    assert all(not places for places in told[:first])
    assert all(places == told[first] for places in told[first:]), "once, and it stays in place"
    *_, question, alert = contents(turns(backend)[first])
    assert alert.startswith("System Alert: Memory Pressure")
    assert question == sentence(first + 1)
    # 70 % of what is usable: the window less the 1 024 tokens that a reply needs.
    assert counted(encoding, turns(backend)[first]) > 0.6 * 3072
    assert counted(encoding, turns(backend)[first - 1]) < 0.75 * 3072


def test_what_is_flushed_in_the_same_turn_gets_no_warning(
    backend: ScriptedBackend, small: Callable[..., Person]
):
    """From an empty queue to more than the window holds, in one request."""
    person = small(4096)
    backend.script(lambda body: text("So far.") if is_summary(body) else send("Yes."))
    for number in range(40):
        person.said += [user(sentence(number)), assistant("Yes.")]
    person.say("the newest")
    (request,) = turns(backend)
    assert len(summaries(backend)) == 1
    assert not any("Memory Pressure" in words for words in contents(request))


def test_a_result_that_had_to_go_can_be_had_again(
    backend: ScriptedBackend, small: Callable[..., Person]
):
    """The same call again is no mistake where its result stands in the prompt no more."""
    person = small(4096)
    backend.script(lambda body: text("So far.") if is_summary(body) else send("Yes."))
    person.ask([user(sentence(number)) for number in range(60)])
    pages = iter([1, 2, 3, 4, 1])

    def model(body: dict[str, Any]) -> Reply:
        if is_summary(body):
            return text("So far.")
        if (page := next(pages, None)) is None:
            return send("Done.")
        return call("recall_storage_search", {"query": "tea", "page": page})

    backend.script(model)
    person.anew().say("Where was tea?")
    last = turns(backend)[-1]
    told = [m["content"] for m in last.body["messages"] if m["role"] == "tool"]
    assert "evicted" in told[0]
    assert told[-1].startswith("Showing 10 of")


def test_a_flush_folds_the_oldest_into_a_recursive_summary(
    backend: ScriptedBackend, small: Callable[..., Person]
):
    person = small(4096)
    numbers = iter(range(1, 100))
    backend.script(
        lambda body: text(f"Summary {next(numbers)}.") if is_summary(body) else send("Yes.")
    )
    number = 0
    while len(summaries(backend)) < 2:
        number += 1
        assert number < 99, "the queue was not flushed twice"
        person.say(sentence(number))
    person.say("the end")
    first, second = (request.body["messages"][1]["content"] for request in summaries(backend)[:2])
    assert first.startswith("Summary so far:\n(none)\n")
    assert f"user: {sentence(1)}" in first
    assert "assistant: Yes." in first
    assert second.startswith("Summary so far:\nSummary 1.\n")
    assert sentence(1) not in second
    last = turns(backend)[-1]
    head, *queue = contents(last)
    assert re.match(r"System Alert: Conversation Summary.*\nSummary [2-9]\.$", head, re.DOTALL)
    assert sentence(1) not in queue
    assert queue[-1] == "the end"
    _assert_paired(last.body["messages"])


def test_a_request_that_overtakes_a_flush_waits_for_it(
    backend: ScriptedBackend, small: Callable[..., Person]
):
    person, gate = small(4096), Gate()
    long = " ".join(sentence(number) for number in range(20))

    def answer(body: dict[str, Any]) -> Reply:
        if is_summary(body):
            return wait(gate) + text("So far.")
        return send("Yes." if "And now?" in json.dumps(body["messages"]) else long)

    backend.script(answer)
    person.say("Tell all.")
    person.say("Tell all.")  # the reply fills the window
    assert is_summary(backend.wait_for_requests(3)[-1].body)
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(person.say, "And now?")
        other = replace(person.anew(), api_key="another")
        other.say("Hello.")  # by when the gateway has taken up the one before
        gate.open()
        assert answered.result().text == "Yes."
    assert len(summaries(backend)) == 1
    (last,) = (turn for turn in turns(backend) if "And now?" in contents(turn))
    assert contents(last)[0].endswith("\nSo far.")


def _assert_paired(messages: list[dict[str, Any]]) -> None:
    """Every tool message answers a call of the assistant message before it."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        else:
            assert not waiting
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    assert not waiting


def test_evicted_messages_stay_in_recall(backend: ScriptedBackend, small: Callable[..., Person]):
    person = small(4096)
    backend.script(lambda body: text("So far.") if is_summary(body) else send("Yes."))
    person.say("my locker code is kyanite-7731")
    while not summaries(backend):
        person.say(sentence(len(person.said)))
    person.say("go on")
    assert not any("kyanite" in words for words in contents(turns(backend)[-1]))
    assert recalled(backend, person, "kyanite-7731") == ["my locker code is kyanite-7731"]


@pytest.mark.parametrize("window", [2048, 4096])
def test_prompts_stay_inside_the_window(
    backend: ScriptedBackend,
    small: Callable[..., Person],
    encoding: tiktoken.Encoding,
    window: int,
):
    person = small(window)
    numbers = itertools.count()

    def model(body: dict[str, Any]) -> Reply:
        fact = f"fact {next(numbers)}"
        return text("So far.") if is_summary(body) else thoughts("Hm. " * 20) + remember(fact)

    backend.script(model)
    for number in range(30):
        person.say(sentence(number, length=40 + number * 3))
    assert summaries(backend)
    assert all(counted(encoding, request) <= window for request in backend.requests)
    for request in turns(backend):
        _assert_paired(request.body["messages"])


def test_a_full_working_context_stays_inside_the_window(
    backend: ScriptedBackend, small: Callable[..., Person], encoding: tiktoken.Encoding
):
    person = small(2048)
    backend.script(lambda _: remember(sentence(len(person.said))))
    for number in range(20):
        person.anew().say(sentence(number, length=5))
        person.said.append({})
    assert max(counted(encoding, request) for request in backend.requests) <= 2048


def test_long_results_stay_inside_the_window(
    backend: ScriptedBackend, small: Callable[..., Person], encoding: tiktoken.Encoding
):
    person = small(4096)
    backend.script(lambda body: text("So far.") if is_summary(body) else send("Yes."))
    for number in range(10):
        person.anew().say(sentence(number, length=350))
    search(backend, person, "recall_storage_search", query="number")
    assert counted(encoding, backend.requests[-1]) <= 4096


@pytest.mark.parametrize("broken", [error(500), error(429), text(""), Reply(die_after_events=1)])
def test_a_failing_summariser_costs_nothing(
    backend: ScriptedBackend, small: Callable[..., Person], broken: Reply
):
    person = small(4096)
    backend.script(lambda body: broken if is_summary(body) else send("Yes."))
    while len(summaries(backend)) < 2:
        assert person.say(sentence(len(person.said))).text == "Yes."
        assert len(person.said) < 150
    assert person.say("the end").text == "Yes."
    head, *_ = contents(turns(backend)[-1])
    assert head.startswith("System Alert: Conversation Summary.")
    assert "user: number " in head, "an extract of what was said stands in"


def test_the_summary_model_can_be_another(
    backend: ScriptedBackend, small: Callable[..., Person], model: str
):
    person = small(4096, "--summary-model", "a-cheap-one")
    backend.script(lambda body: text("So far.") if is_summary(body) else send("Yes."))
    while not summaries(backend):
        person.say(sentence(len(person.said)))
    (summary, *_) = summaries(backend)
    assert summary.body["model"] == "a-cheap-one"
    assert summary.headers["authorization"] == f"Bearer {person.api_key}"
    assert {request.body["model"] for request in turns(backend)} == {model}


BOOK = "\n\n".join(f"Chapter {n}. " + sentence(n, length=150) for n in range(40)) + "\n\nZoisite."


def test_an_oversize_message_goes_to_archival_storage(
    backend: ScriptedBackend, person: Person, encoding: tiktoken.Encoding
):
    backend.reply(send("What a book."), send("Go on."))
    assert person.say(BOOK).text == "What a book."
    *_, head, alert = contents(backend.requests[0])
    assert BOOK.startswith(head.removesuffix("…"))
    assert head.endswith("…")
    assert alert.startswith("System Alert: Message Archived.")
    assert "archival_storage_search" in alert
    assert counted(encoding, backend.requests[0]) < 8192
    person.say("next")
    assert messages_of(backend.requests[1]).startswith(messages_of(backend.requests[0]))
    found = search(backend, person, "archival_storage_search", query="Zoisite")
    assert found.startswith("Showing 1 of 1 results (page 1/1): ")
    assert "Zoisite." in found


def test_an_oversize_message_is_archived_once(backend: ScriptedBackend, person: Person):
    backend.reply(*[send("What a book.")] * 3)
    person.ask([user(BOOK)])
    person.ask([user(BOOK)])
    person.ask([user(BOOK), assistant("What a book."), user("next")])
    found = search(backend, person, "archival_storage_search", query="Zoisite")
    assert found.startswith("Showing 1 of 1 results (page 1/1): ")


def test_the_counts_of_external_context_are_told(backend: ScriptedBackend, person: Person):
    backend.reply(
        call("archival_storage_insert", {"content": "A note."}) + send("Kept."), send("Hi.")
    )
    person.say("keep a note")
    person.anew().say("hello")
    assert "holds 0 messages. Archival storage holds 0 passages." in system(backend.requests[0])
    assert "holds 2 messages. Archival storage holds 1 passage." in system(backend.requests[1])
