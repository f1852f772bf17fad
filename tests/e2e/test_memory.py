"""Memory across requests, conversations, users and restarts."""

from __future__ import annotations

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unicodedata import normalize

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, assistant, raw, send, streamed, user
from tests.e2e.in_process import Calendar, dated_gateway
from tests.e2e.prompts import contents, messages_of, recalled, remember, search, system
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Gate, Reply, call, error, thoughts, wait

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


def test_what_was_said_is_found_however_its_signs_are_composed(
    backend: ScriptedBackend, person: Person
):
    """Identifiers and phrases are found as they are written."""
    backend.reply(send(normalize("NFD", "Order Café-43 at Müller & Co.")))
    person.say(normalize("NFD", "Order Café-42 at Müller & Co."))
    assert recalled(backend, person, "Café-42") == ["Order Café-42 at Müller & Co."]
    assert recalled(backend, person, "Café-43") == ["Order Café-43 at Müller & Co."]


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


def test_the_day_is_told_although_the_last_reply_has_ended_on_it(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str
):
    calendar, gate = Calendar(datetime(2024, 2, 7, 23, 59, tzinfo=UTC)), Gate()
    with (
        dated_gateway(tmp_path, backend.base_url, calendar) as base_url,
        ThreadPoolExecutor(1) as elsewhere,
    ):
        person = Person(base_url, api_key, model)
        backend.reply(wait(gate) + send("Good."))
        asked = elsewhere.submit(person.say, "one")
        backend.wait_for_requests(1)
        calendar.set(2024, 2, 8)
        gate.open()
        asked.result(10)
        backend.reply(send("Good."))
        person.say("two")
    assert contents(backend.requests[-1])[-2:] == [
        "System Alert: Today is Thursday, February 8, 2024.",
        "two",
    ]


def test_a_retry_after_midnight_says_nothing_twice(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str
):
    calendar = Calendar(datetime(2024, 2, 7, 23, 59, tzinfo=UTC))
    backend.script(lambda _: send("Good."))
    with dated_gateway(tmp_path, backend.base_url, calendar) as base_url:
        person = Person(base_url, api_key, model)
        person.say("malachite today")  # its client did not get the answer in time
        calendar.now = datetime(2024, 2, 8, 0, 1, tzinfo=UTC)
        again = {"x-stainless-retry-count": "1"}
        person.anew().say("malachite today", extra_headers=again)
        assert recalled(backend, person, "malachite") == ["malachite today"]
        calendar.set(2024, 2, 8)  # noon: what is sent again then did not come at midnight
        person.anew().say("malachite today", extra_headers=again)
        assert recalled(backend, person, "malachite") == ["malachite today"] * 2


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


@pytest.mark.parametrize("status", [429, 500])
def test_a_regeneration_that_the_backend_refuses_undoes_nothing(
    backend: ScriptedBackend, person: Person, status: int
):
    backend.reply(remember("Name is Ann"), error(status, b"{}"), send("Yes."))
    person.say("I am Ann.")
    with pytest.raises(openai.APIStatusError):
        person.ask(person.said[:-1])
    person.anew().say("Do you know me?")
    assert "Name is Ann" in system(backend.requests[-1])
