"""What clients do to the history that they send back, over the wire."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send, tool, tool_result, user
from tests.e2e.prompts import recalled, remember, system
from tests.support.backend import ScriptedBackend
from tests.support.replies import Reply, call, error

NAMED = "x-memgpt-conversation"


def words(backend: ScriptedBackend) -> list[str]:
    """What the last prompt says, without calls, results and alerts."""
    said = []
    for message in backend.requests[-1].body["messages"][1:]:
        for each in message.get("tool_calls") or ():
            if each["function"]["name"] == "send_message":
                said.append(json.loads(each["function"]["arguments"])["message"])
        if message["role"] == "user" and not message["content"].startswith("System Alert"):
            said.append(message["content"])
    return said


def test_a_client_that_sends_the_end_of_its_history(backend: ScriptedBackend, anyone: Person):
    backend.script(lambda body: send(f"Answer {len(body['messages'])}."))
    for number in range(6):
        anyone.say(f"Question {number}.")
    before = words(backend)
    anyone.said = anyone.said[-2:]
    anyone.say("One more.")
    assert words(backend)[: len(before)] == before
    assert words(backend)[-1] == "One more."


def test_a_client_that_sends_its_newest_message_only(backend: ScriptedBackend, anyone: Person):
    backend.reply(send("One."), send("Two."), send("Three."))
    named = replace(anyone, options={"extra_headers": {NAMED: "kitchen"}})
    for question in ("First?", "Second?", "Second?"):
        named.ask([user(question)])
    assert words(backend) == ["First?", "One.", "Second?", "Two.", "Second?"]
    assert NAMED not in backend.requests[-1].headers


def test_a_regenerated_reply_leaves_nothing_in_memory(backend: ScriptedBackend, anyone: Person):
    backend.reply(remember("Name is Pam"))
    anyone.ask([user("I am Sam.")])
    backend.reply(remember("Name is Sam"))
    anyone.ask([user("I am Sam.")])
    assert "Pam" not in json.dumps(backend.requests[-1].body["messages"])
    backend.reply(send("Sam."))
    anyone.anew().say("Who am I?")
    assert "Name is Sam" in system(backend.requests[-1])
    assert "Pam" not in system(backend.requests[-1])


def test_discarded_replies_may_keep_their_memory(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--discarded-replies", "keep")
    person = Person(gateway.base_url, api_key, model)
    backend.reply(remember("Likes tea"), send("Fine."))
    person.ask([user("I like tea.")])
    person.ask([user("I like tea.")])
    assert "Likes tea" in system(backend.requests[-1])


def test_a_turn_without_a_word_leaves_nothing_in_memory(backend: ScriptedBackend, person: Person):
    backend.reply(
        call("working_context_append", {"content": "Likes tea", "request_heartbeat": True}),
        error(500, "broken"),
    )
    with pytest.raises(openai.InternalServerError):
        person.ask([user("I like tea.")])
    backend.reply(remember("Likes tea"))
    person.ask([user("I like tea.")])
    backend.reply(send("Tea."))
    person.anew().say("What do I like?")
    assert system(backend.requests[-1]).count("Likes tea") == 1


def test_a_read_only_turn_sees_memory_and_changes_none(backend: ScriptedBackend, person: Person):
    backend.reply(remember("Likes tea"))
    person.say("I like tea.")
    reading = replace(person.anew(), options={"extra_headers": {"x-memgpt-memory": "read"}})
    backend.reply(
        call("recall_storage_search", {"query": "tea"}),
        call("working_context_append", {"content": "Likes milk"}),  # which is not offered
        send("Tea."),
    )
    assert reading.say("What do I like? Is it milk?").text == "Tea."
    request = backend.requests[-1]
    assert "Likes tea" in system(request)
    names = [each["function"]["name"] for each in request.body["tools"]]
    assert "recall_storage_search" in names
    assert not [name for name in names if "append" in name or "insert" in name]
    backend.reply(send("Tea."))
    person.anew().say("And now?")
    assert "milk" not in system(backend.requests[-1])
    assert recalled(backend, person, "milk") == []


def test_tool_exchanges_of_a_client_that_sends_its_newest_message_only(
    backend: ScriptedBackend, anyone: Person
):
    asks = {"tools": [tool("weather", city="string")], "extra_headers": {NAMED: "kitchen"}}
    backend.reply(remember("Lives in Rome") + call("weather", {"city": "Rome"}), send("Sunny."))
    (called,) = anyone.ask([user("How is the weather?")], **asks).calls
    answer = anyone.ask([tool_result(called[0], "sun")], **asks)
    assert answer.text == "Sunny."
    assert "Lives in Rome" in json.dumps(backend.requests[-1].body["messages"])
    with pytest.raises(openai.BadRequestError) as refused:
        anyone.ask([tool_result("nobody's", "sun")], **asks)
    assert refused.value.param == "messages"
    assert "'nobody's'" in refused.value.message


def test_many_requests_at_once_lose_no_edit_and_say_nothing_twice(
    backend: ScriptedBackend, person: Person
):
    def remembers(body: dict[str, Any]) -> Reply:
        said = body["messages"][-1]["content"]
        return call("working_context_append", {"content": f"Met {said}"}) + send(f"Hi {said}")

    backend.script(remembers)
    names = [f"guest-{number}." for number in range(24)]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = pool.map(lambda name: person.ask([user(name)]).text, names)
    assert list(answers) == [f"Hi {name}" for name in names]
    backend.reply(send("All."))
    person.anew().say("Who was there?")
    context = system(backend.requests[-1]).splitlines()
    assert [context.count(f"Met {name}") for name in names] == [1] * len(names)
    for name in names[:5]:
        assert sorted(recalled(backend, person, name)) == sorted([f"Hi {name}", name])
