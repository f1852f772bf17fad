"""Memory across requests, conversations, users and restarts."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import tiktoken

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, assistant, raw, results, send, streamed, user
from tests.e2e.in_process import Calendar, dated_gateway
from tests.support.backend import Recorded, ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Reply, call, error, text, thoughts

SUMMARY_TASK = "You keep the summary"


def system(recorded: Recorded) -> str:
    """The one system message of a prompt."""
    first, *others = recorded.body["messages"]
    assert first["role"] == "system"
    assert all(message["role"] != "system" for message in others)
    return first["content"]


def contents(recorded: Recorded) -> list[str]:
    """What the messages after the system message say."""
    return [message.get("content") or "" for message in recorded.body["messages"][1:]]


def is_summary(body: dict[str, Any]) -> bool:
    return body["messages"][0]["content"].startswith(SUMMARY_TASK)


def search(backend: ScriptedBackend, person: Person, name: str, **arguments: Any) -> str:
    """The result of a search that the model makes in a conversation of its own."""
    backend.reply(call(name, arguments), send("I have looked."))
    person.anew().say("Look it up.")
    (result,) = results(backend.requests[-1])
    return result


def recalled(backend: ScriptedBackend, person: Person, query: str) -> list[str]:
    """What recall storage finds, without dates; the total must be that of the results."""
    result = search(backend, person, "recall_storage_search", query=query)
    found = re.findall(r'\[\d\d/\d\d/\d{4}\] "([^"]*)"', result)
    assert result.startswith(f"Showing {len(found)} of {len(found)} results")
    return found


def remember(fact: str) -> Reply:
    return call("working_context_append", {"content": fact}) + send("Noted.")


# One namespace, many conversations


def test_a_fresh_conversation_knows_what_was_told(backend: ScriptedBackend, anyone: Person):
    backend.reply(remember("Birthday is February 7"), send("On February 7."))
    anyone.say("My birthday is February 7.")
    answer = anyone.anew().say("When is my birthday?")
    assert answer.text == "On February 7."
    prompt = backend.requests[1]
    assert "(22 / 8 000 characters)\nBirthday is February 7" in system(prompt)
    assert "My birthday is February 7." not in contents(prompt)


def test_another_key_sees_nothing(backend: ScriptedBackend, person: Person):
    backend.reply(remember("Birthday is June 3"), send("I do not know."))
    person.say("My birthday is June 3.")
    other = replace(person.anew(), api_key=f"{person.api_key}x")
    other.say("When is it?")
    assert "June 3" not in json.dumps(backend.requests[1].body["messages"])
    assert recalled(backend, other, "birthday June") == []
    backend.reply(send("Yes."))
    other.ask([user("My birthday is June 3."), assistant("Noted."), user("Right?")])
    assert recalled(backend, other, "birthday June") == ["My birthday is June 3."]


def test_each_user_of_a_key_has_a_memory_of_their_own(backend: ScriptedBackend, person: Person):
    ann, bob = (replace(person.anew(), options={"user": name}) for name in ("ann", "bob"))
    backend.reply(remember("Name is Ann"), send("Hello."), send("Hello."), send("Hello."))
    ann.say("I am Ann.")
    bob.say("Who am I?")
    person.say("Who am I?")
    ann.anew().say("Who am I?")
    assert ["Name is Ann" in system(request) for request in backend.requests] == [
        False,
        False,
        False,
        True,
    ]
    assert recalled(backend, bob, "Ann") == []
    assert recalled(backend, person, "Ann") == []
    assert recalled(backend, ann, "Ann") == ["I am Ann."]


def test_the_clients_own_instructions_are_no_memory(backend: ScriptedBackend, person: Person):
    backend.reply(send("Aye."), send("Hello."))
    pirate: dict[str, Any] = {"role": "system", "content": "Speak like a buccaneer."}
    person.ask([pirate, {"role": "developer", "content": "Be brief."}, user("hello")])
    assert "Speak like a buccaneer.\n\nBe brief." in system(backend.requests[0])
    person.ask([user("hello")])
    assert "buccaneer" not in system(backend.requests[1])
    assert recalled(backend, person, "buccaneer") == []


# The transcript


def test_what_is_resent_is_stored_once(backend: ScriptedBackend, person: Person):
    backend.reply(send("Basalt it is."), send("Granite."), send("Slate."))
    for words in ("basalt one", "granite two", "slate three"):
        person.say(words)
    assert set(recalled(backend, person, "basalt")) == {"basalt one", "Basalt it is."}
    assert set(recalled(backend, person, "granite")) == {"granite two", "Granite."}
    assert set(recalled(backend, person, "slate")) == {"slate three", "Slate."}


def test_a_history_from_elsewhere_is_taken_in_once(backend: ScriptedBackend, person: Person):
    backend.reply(send("Yes."), send("Again yes."))
    history = [user("obsidian a"), assistant("obsidian b"), user("obsidian c")]
    person.ask(history)
    person.ask(history)
    assert sorted(recalled(backend, person, "obsidian")) == [
        "obsidian a",
        "obsidian b",
        "obsidian c",
    ]


def test_a_repeated_request_stores_nothing_twice(backend: ScriptedBackend, person: Person):
    backend.reply(send("Marble reply."), send("Marble reply."))
    person.ask([user("marble")])
    person.ask([user("marble")])
    assert sorted(recalled(backend, person, "marble")) == ["Marble reply.", "marble"]


def test_regenerating_keeps_the_question_once(backend: ScriptedBackend, person: Person):
    backend.reply(send("First try."), send("Second try."), send("Going on."))
    person.ask([user("quartz question")])
    person.ask([user("quartz question")])
    person.ask([user("quartz question"), assistant("Second try."), user("and then?")])
    assert recalled(backend, person, "quartz") == ["quartz question"]
    assert "First try." not in json.dumps(backend.requests[2].body["messages"])
    assert "Second try." in json.dumps(backend.requests[2].body["messages"])


def test_branches_share_their_trunk(backend: ScriptedBackend, person: Person):
    backend.reply(send("Trunk reply."), send("Left."), send("Right."), send("Left again."))
    trunk = [user("feldspar trunk"), assistant("Trunk reply.")]
    person.ask(trunk[:1])
    person.ask([*trunk, user("feldspar left")])
    person.ask([*trunk, user("feldspar right")])
    prompt = json.dumps(backend.requests[2].body["messages"])
    assert "feldspar left" not in prompt
    person.ask([*trunk, user("feldspar left"), assistant("Left."), user("on")])
    assert "feldspar right" not in json.dumps(backend.requests[3].body["messages"])
    assert sorted(recalled(backend, person, "feldspar")) == [
        "feldspar left",
        "feldspar right",
        "feldspar trunk",
    ]


def test_memory_calls_and_alerts_are_nobodys_words(backend: ScriptedBackend, person: Person):
    backend.reply(
        thoughts("tourmaline thought") + remember("tourmaline fact"),
        call("archival_storage_insert", {"content": "tourmaline note"}) + send("Kept."),
    )
    person.say("one")
    person.say("two")
    assert recalled(backend, person, "tourmaline") == []
    assert recalled(backend, person, "Alert today") == []


def messages_of(recorded: Recorded) -> bytes:
    """The raw JSON of a prompt's messages, without the closing bracket."""
    body = recorded.raw
    start, end = body.index(b'"messages":['), body.index(b'],"stream":true')
    return body[start:end]


def test_hidden_steps_are_put_back_byte_for_byte(backend: ScriptedBackend, anyone: Person):
    odd = '{ "content" :\t"Gr\\u00fc\\u00dfe \\ud83c\\udf82",  "request_heartbeat":true }'
    backend.reply(
        thoughts("A thought.") + call("working_context_append", odd, id="call_odd"),
        call("recall_storage_search", {"query": "nothing"}),
        call("working_context_append", {"content": "x"}, id="call_last") + send("Grüße 🎂!"),
        send("Second."),
        send("Third."),
    )
    anyone.say("hello")
    anyone.say("go on")
    anyone.say("and on")
    prompts = [messages_of(request) for request in backend.requests]
    for before, after in itertools.pairwise(prompts):
        assert after.startswith(before)
    sent = json.dumps({"message": "Grüße 🎂!"}, ensure_ascii=False)
    *_, last_step, result, said, question = backend.requests[3].body["messages"]
    assert [c["function"]["arguments"] for c in last_step["tool_calls"]] == [
        '{"content": "x"}',
        sent,
    ]
    assert result["tool_call_id"] == "call_last"
    assert said["content"] == "Message sent."
    assert question == user("go on")


def test_clients_that_write_a_message_otherwise_are_known(backend: ScriptedBackend, person: Person):
    """White space at the ends, or text as a list of parts, is the same message."""
    backend.reply(remember("a fact"), send("Again."))
    person.say("hello")
    parts = {"role": "assistant", "content": [{"type": "text", "text": "Noted.\n"}]}
    person.ask([user(" hello"), parts, user("next")])
    before, after = map(messages_of, backend.requests)
    assert after.startswith(before)


def test_a_change_from_elsewhere_is_told(backend: ScriptedBackend, person: Person):
    backend.reply(
        remember("Boyfriend named James"),
        call(
            "working_context_replace",
            {"old_content": "Boyfriend", "new_content": "Ex-boyfriend"},
        )
        + send("I am sorry."),
        send("Hm."),
        send("Indeed."),
    )
    person.say("my bf james is great")
    person.anew().say("james and i broke up")
    person.say("what now?")
    *_, alert, question = contents(backend.requests[2])
    assert question == "what now?"
    assert alert == (
        "System Alert: Working Context Changed in another conversation since:\n"
        "- Boyfriend named James\n+ Ex-boyfriend named James"
    )
    person.say("and then?")
    assert messages_of(backend.requests[3]).startswith(messages_of(backend.requests[2]))
    told = [words for words in contents(backend.requests[3]) if "Changed in another" in words]
    assert len(told) == 1, "a change is told once"


def test_the_day_is_told_when_it_has_changed(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str
):
    calendar = Calendar.__new__(Calendar)
    calendar.set(2024, 2, 7)
    backend.script(lambda _: send("Good."))
    with dated_gateway(tmp_path, backend.base_url, calendar) as base_url:
        person = Person(base_url, api_key, model)
        person.say("one")
        person.say("two")
        calendar.set(2024, 2, 14)
        person.say("three")
        person.say("four")
    said = [words for words in contents(backend.requests[-1]) if words not in ("", "Message sent.")]
    assert said == [
        "System Alert: Today is Wednesday, February 7, 2024.",
        "one",
        "two",
        "System Alert: Today is Wednesday, February 14, 2024.",
        "three",
        "four",
    ]
    prompts = [messages_of(request) for request in backend.requests]
    assert all(b.startswith(a) for a, b in itertools.pairwise(prompts))


def test_results_are_dated_by_the_day_they_were_said(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str
):
    calendar = Calendar.__new__(Calendar)
    calendar.set(2024, 1, 14)
    backend.reply(send("Fun."))
    with dated_gateway(tmp_path, backend.base_url, calendar) as base_url:
        person = Person(base_url, api_key, model)
        person.say("malachite today")
        calendar.set(2024, 1, 24)
        found = search(backend, person, "recall_storage_search", query="malachite")
        day = {"start_date": "2024-01-14", "end_date": "2024-01-14"}
        listed = search(backend, person, "recall_storage_search_date", **day)
    line = '[01/14/2024] "malachite today"'
    assert found == f"Showing 1 of 1 results (page 1/1): {line}"
    assert listed in {
        f'Showing 2 of 2 results (page 1/1): {line}, [01/14/2024] "Fun."',
        f'Showing 2 of 2 results (page 1/1): [01/14/2024] "Fun.", {line}',
    }


# A small window

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


# Keys


def test_no_key_is_an_error_in_openais_shape(backend: ScriptedBackend, gateway: GatewayProcess):
    body = {"model": "m", "messages": [user("hello")]}
    for headers in ({}, {"authorization": "Basic abc"}, {"authorization": "Bearer"}):
        response = httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers)
        assert response.status_code == 401
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        assert response.json()["error"]["code"] == "invalid_api_key"
    assert backend.requests == []


def test_anonymous_use_shares_one_memory(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--anonymous")
    backend.reply(remember("Name is Nobody"), send("Hi."), send("Hi."))
    for words in ("I am Nobody", "Who am I?"):
        body = {"model": model, "messages": [user(words)]}
        response = httpx.post(f"{gateway.base_url}/chat/completions", json=body)
        assert response.status_code == 200
    Person(gateway.base_url, api_key, model).say("Who am I?")
    assert ["Nobody" in system(request) for request in backend.requests] == [False, True, False]
    assert "authorization" not in backend.requests[0].headers


def test_only_accepted_keys_are_taken(
    backend: ScriptedBackend, start_gateway: StartGateway, model: str
):
    gateway = start_gateway(
        "--accepted-keys", "sk-ann, sk-bob", "--backend-api-key", "sk-the-backends-own"
    )
    backend.reply(remember("Name is Ann"), send("Hi."))
    Person(gateway.base_url, "sk-ann", model).say("I am Ann")
    Person(gateway.base_url, "sk-bob", model).say("Who am I?")
    with pytest.raises(openai.AuthenticationError):
        Person(gateway.base_url, "sk-eve", model).say("Who am I?")
    assert [r.headers["authorization"] for r in backend.requests] == [
        "Bearer sk-the-backends-own"
    ] * 2
    assert "Ann" not in system(backend.requests[1])


# What survives


@pytest.fixture
def mortal(start_gateway: StartGateway) -> GatewayProcess:
    return start_gateway()


@pytest.mark.parametrize("stream", [True, False])
def test_what_was_acknowledged_survives_a_kill(
    backend: ScriptedBackend, mortal: GatewayProcess, api_key: str, model: str, stream: bool
):
    person = Person(mortal.base_url, api_key, model)
    steps = (
        call("working_context_append", {"content": "Stone is jasper", "request_heartbeat": True}),
        send("Jasper, noted."),
    )
    backend.reply(*steps)
    request: dict[str, Any] = {"model": model, "messages": [user("my stone is jasper")]}
    headers = {"authorization": f"Bearer {api_key}"}
    with httpx.stream(
        "POST",
        f"{mortal.base_url}/chat/completions",
        json={**request, "stream": stream},
        headers=headers,
    ) as response:
        seen = b""
        for data in response.iter_raw():
            seen += data
            if b"[DONE]" in seen or seen.endswith(b"}"):
                mortal.kill()
                break
    mortal.start()
    assert sorted(recalled(backend, person, "jasper")) == ["Jasper, noted.", "my stone is jasper"]
    backend.reply(send("Yes."))
    person.ask([user("my stone is jasper"), assistant("Jasper, noted."), user("right?")])
    last = backend.requests[-1]
    assert messages_of(last).startswith(messages_of(backend.requests[1]))
    fresh = backend.requests[2]
    assert "Stone is jasper" in system(fresh)


def test_many_conversations_survive_a_kill(
    backend: ScriptedBackend, mortal: GatewayProcess, api_key: str, model: str
):
    backend.script(lambda _: send("Noted."))
    person = Person(mortal.base_url, api_key, model, streamed)
    for round in range(3):
        for number in range(4):
            person.anew().say(f"onyx {round}{number}")
        mortal.kill()
        mortal.start()
    pages = [
        search(backend, person, "recall_storage_search", query="onyx", page=page) for page in (1, 2)
    ]
    assert [page[:37] for page in pages] == [
        "Showing 10 of 12 results (page 1/2): ",
        "Showing 2 of 12 results (page 2/2): [",
    ]
    told = [words for page in pages for words in re.findall(r'"([^"]*)"', page)]
    assert sorted(told) == [f"onyx {round}{number}" for round in range(3) for number in range(4)]


def test_the_namespace_survives_a_restart(
    backend: ScriptedBackend, mortal: GatewayProcess, api_key: str, model: str
):
    person = Person(mortal.base_url, api_key, model)
    backend.reply(remember("Name is Sam"), send("Sam."))
    person.say("I am Sam")
    mortal.restart()
    person.anew().say("Who am I?")
    assert "Name is Sam" in system(backend.requests[1])
    secret = mortal.data_dir / "namespace.secret"
    assert secret.stat().st_mode & 0o077 == 0


def test_no_key_and_no_prompt_is_logged(
    backend: ScriptedBackend, mortal: GatewayProcess, api_key: str, model: str
):
    backend.reply(send("Hi."), error(500), Reply(die_after_events=1))
    for stream in (False, False, True):
        raw(
            mortal.base_url,
            api_key,
            model=model,
            messages=[user("carnelian secret")],
            stream=stream,
        )
    mortal.stop()
    assert api_key not in mortal.log()
    assert "carnelian" not in mortal.log()
