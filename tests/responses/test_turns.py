"""Responses over the wire: the turn is that of a chat, memory included."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.e2e.chatting import offered, send
from tests.e2e.prompts import remember, system
from tests.responses.asking import Asker, calls, output, tool
from tests.support.backend import ScriptedBackend
from tests.support.replies import call, error, event, text, thoughts

pytestmark = pytest.mark.slow

WEATHER = tool("get_weather", city="string")
CLOCK = tool("get_time", zone="string")


def said(backend: ScriptedBackend, number: int = -1) -> list[str]:
    """What a prompt says in words and calls, without alerts, results and instructions."""
    words = []
    for message in backend.requests[number].body["messages"][1:]:
        for made in message.get("tool_calls") or ():
            if made["function"]["name"] == "send_message":
                words.append(json.loads(made["function"]["arguments"])["message"])
        if message["role"] == "user" and not message["content"].startswith("System Alert"):
            words.append(message["content"])
    return words


def test_a_text_is_answered(backend: ScriptedBackend, anyone: Asker):
    backend.reply(thoughts("Greet her.") + send("Hello, Ann."))
    response = anyone.ask("I am Ann.", instructions="Be kind.")
    assert response.output_text == "Hello, Ann."
    assert (response.status, response.object, response.error) == ("completed", "response", None)
    assert response.id.startswith("resp_")
    assert response.instructions == "Be kind."
    assert "Be kind." in system(backend.requests[-1])
    assert said(backend) == ["I am Ann."]


def test_facts_are_remembered_across_conversations(backend: ScriptedBackend, anyone: Asker):
    backend.reply(remember("Name is Ann"), send("Ann."))
    anyone.ask("I am Ann.")
    assert anyone.ask("Who am I?").output_text == "Ann."
    assert "Name is Ann" in system(backend.requests[-1])


def test_both_endpoints_share_one_memory(backend: ScriptedBackend, anyone: Asker):
    backend.reply(remember("Name is Ann"), send("Ann."))
    anyone.ask("I am Ann.")
    with openai.OpenAI(base_url=anyone.base_url, api_key=anyone.api_key) as client:
        client.chat.completions.create(
            model=anyone.model, messages=[{"role": "user", "content": "Who am I?"}]
        )
    assert "Name is Ann" in system(backend.requests[-1])


def test_a_history_that_is_resent_is_known(backend: ScriptedBackend, anyone: Asker):
    backend.reply(thoughts("Hm.") + send("Hello, Ann."), send("Ann."), send("Bye."))
    history: list[Any] = [{"role": "user", "content": "I am Ann."}]
    for question in ("Who am I?", "Bye."):
        history += [item.model_dump() for item in anyone.ask(history).output]
        history.append({"role": "user", "content": question})
    anyone.ask(history)
    assert said(backend) == ["I am Ann.", "Hello, Ann.", "Who am I?", "Ann.", "Bye."]
    assert "Hm." in json.dumps(backend.requests[-1].body["messages"])  # hidden steps are back


def test_a_previous_response_is_gone_on_from(backend: ScriptedBackend, anyone: Asker):
    backend.reply(thoughts("Hm.") + send("Hello, Ann."), send("Ann."), send("Bye, Ann."))
    first = anyone.ask("I am Ann.", instructions="Be kind.")
    second = anyone.ask("Who am I?", previous_response_id=first.id)
    third = anyone.ask("Bye.", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    assert said(backend) == ["I am Ann.", "Hello, Ann.", "Who am I?", "Ann.", "Bye."]
    assert "Hm." in json.dumps(backend.requests[-1].body["messages"])
    assert "Be kind." not in system(backend.requests[-1])  # instructions are not carried over


def test_one_response_is_gone_on_from_twice(backend: ScriptedBackend, anyone: Asker):
    backend.reply(send("Hello."), remember("Likes tea"), remember("Likes milk"), send("Both."))
    first = anyone.ask("Hello.")
    tea = anyone.ask("I like tea.", previous_response_id=first.id)
    milk = anyone.ask("I like milk.", previous_response_id=first.id)
    assert said(backend) == ["Hello.", "Hello.", "I like milk."]
    anyone.ask("And now?", previous_response_id=tea.id)
    assert said(backend)[:3] == ["Hello.", "Hello.", "I like tea."]
    backend.reply(send("Yes."), send("Yes."))
    anyone.ask("And now?", previous_response_id=milk.id)
    assert said(backend)[:3] == ["Hello.", "Hello.", "I like milk."]
    anyone.ask("What do I like?")
    assert "Likes tea" in system(backend.requests[-1])  # neither took the other back
    assert "Likes milk" in system(backend.requests[-1])


def test_a_history_is_known_after_previous_responses(backend: ScriptedBackend, asker: Asker):
    backend.reply(send("Hello, Ann."), thoughts("Hm.") + send("Ann."), send("Bye, Ann."))
    first = asker.ask("I am Ann.")
    second = asker.ask("Who am I?", previous_response_id=first.id)
    asker.ask(
        [
            {"role": "user", "content": "I am Ann."},
            *[item.model_dump() for item in first.output],
            {"role": "user", "content": "Who am I?"},
            *[item.model_dump() for item in second.output],
            {"role": "user", "content": "Bye."},
        ]
    )
    assert said(backend) == ["I am Ann.", "Hello, Ann.", "Who am I?", "Ann.", "Bye."]
    assert "Hm." in json.dumps(backend.requests[-1].body["messages"])


@pytest.mark.parametrize("name", ["resp_" + "0" * 32, "resp_nothing", "chatcmpl-1"])
def test_an_unknown_previous_response(backend: ScriptedBackend, anyone: Asker, name: str):
    with pytest.raises(openai.BadRequestError) as refused:
        anyone.ask("And?", previous_response_id=name)
    assert refused.value.code == "previous_response_not_found"
    assert refused.value.param == "previous_response_id"
    assert not backend.requests


def test_a_response_is_its_owners_alone(backend: ScriptedBackend, asker: Asker):
    backend.reply(send("Hello."))
    first = asker.ask("Hello.", user="ann")
    for other in ({"user": "bob"}, {}):
        with pytest.raises(openai.BadRequestError) as refused:
            asker.ask("And?", previous_response_id=first.id, **other)
        assert refused.value.code == "previous_response_not_found"


def test_what_is_not_stored_cannot_be_gone_on_from(backend: ScriptedBackend, anyone: Asker):
    backend.reply(remember("Likes tea"), send("Tea."))
    response = anyone.ask("I like tea.", store=False)
    assert response.model_dump()["store"] is False
    with pytest.raises(openai.BadRequestError):
        anyone.ask("And?", previous_response_id=response.id)
    anyone.ask("What do I like?")
    assert "Likes tea" in system(backend.requests[-1])  # memory has it all the same


def test_a_request_sent_again_is_said_once(backend: ScriptedBackend, anyone: Asker):
    backend.reply(send("Hello."), send("One."), send("Two."), send("Three."))
    first = anyone.ask("Hello.")
    anyone.ask("And?", previous_response_id=first.id)
    again = anyone.ask("And?", previous_response_id=first.id)
    anyone.ask("Well?", previous_response_id=again.id)
    assert said(backend) == ["Hello.", "Hello.", "And?", "Two.", "Well?"]


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_goes_on_by_itself(
    backend: ScriptedBackend, anyone: Asker, conversation: Any
):
    backend.reply(send("One."), send("Two."))
    anyone.ask("First?", conversation=conversation)
    response = anyone.ask("Second?", conversation=conversation)
    assert said(backend) == ["First?", "One.", "Second?"]
    assert response.conversation
    assert response.conversation.id == "conv_1"


def test_function_tools_make_a_round_trip(backend: ScriptedBackend, anyone: Asker):
    backend.reply(
        call("working_context_append", {"content": "Lives in Oslo"}, id="call_m")
        + call("get_weather", {"city": "Oslo"}, id="call_w")
        + call("get_time", {"zone": "CET"}, id="call_t"),
        send("4 °C at noon."),
        send("Bye."),
    )
    asked: list[Any] = [{"role": "user", "content": "I live in Oslo. How is it?"}]
    tools = [WEATHER, CLOCK]
    first = anyone.ask(asked, tools=tools)
    assert [made[:2] for made in calls(first)] == [
        ("call_w", "get_weather"),
        ("call_t", "get_time"),
    ]
    assert offered(backend.requests[0])[-2:] == ["get_weather", "get_time"]
    given = [output("call_w", "4 °C"), output("call_t", "12:00")]
    stateless = [*asked, *[item.model_dump() for item in first.output], *given]
    assert anyone.ask(stateless, tools=tools).output_text == "4 °C at noon."
    prompt = backend.requests[-1].body["messages"][-4:]
    assert [made["id"] for made in prompt[0]["tool_calls"]] == ["call_m", "call_w", "call_t"]
    by_id = anyone.ask(given, tools=tools, previous_response_id=first.id)
    assert by_id.output_text == "Bye."
    assert backend.requests[-1].body["messages"][-4:] == prompt


@pytest.mark.parametrize("names", [("call_w",), ("call_t",), ()], ids=["first", "last", "none"])
def test_calls_without_outputs_get_a_note(
    backend: ScriptedBackend, asker: Asker, names: tuple[str, ...]
):
    both = call("get_weather", {}, id="call_w") + call("get_time", {}, id="call_t")
    backend.reply(both, send("Fine."))
    first = asker.ask("How is it?", tools=[WEATHER, CLOCK])
    given = [output(name, "4") for name in names] or "Never mind."
    asker.ask(given, tools=[WEATHER, CLOCK], previous_response_id=first.id)
    prompt = backend.requests[-1].body["messages"]
    results = {m["tool_call_id"]: m["content"] for m in prompt if m["role"] == "tool"}
    assert set(results) == {"call_w", "call_t"}
    assert {name for name, text in results.items() if text == "4"} == set(names)


def test_a_call_with_the_id_of_an_earlier_step_is_open(backend: ScriptedBackend, asker: Asker):
    """Some backends number the calls of each answer from 0."""
    memory = call("working_context_append", {"content": "Lives in Oslo"}, id="call_0")
    asks = call("get_weather", {}, id="call_0")
    backend.reply(memory, asks, send("4 °C."), memory, asks, send("Fine."))
    for given in ([output("call_0", "4")], "Never mind."):
        first = asker.ask("How is it?", tools=[WEATHER])
        assert [made[:2] for made in calls(first)] == [("call_0", "get_weather")]
        asker.ask(given, tools=[WEATHER], previous_response_id=first.id)
        prompt = backend.requests[-1].body["messages"]
        made = [m["role"] for m in prompt if m.get("tool_calls") or m["role"] == "tool"]
        assert made == ["assistant", "tool", "assistant", "tool"]


@pytest.mark.parametrize("names", [("call_x",), ("call_w", "call_x")], ids=["alone", "beside"])
def test_an_output_without_a_call_is_refused(
    backend: ScriptedBackend, anyone: Asker, names: tuple[str, ...]
):
    backend.reply(call("get_weather", {}, id="call_w"))
    first = anyone.ask("How is it?", tools=[WEATHER])
    given = [output(name, "4") for name in names]
    with pytest.raises(openai.BadRequestError, match=r"No tool call found .* call_id call_x") as no:
        anyone.ask(given, tools=[WEATHER], previous_response_id=first.id)
    assert no.value.param == "input"


def test_structured_output(backend: ScriptedBackend, anyone: Asker):
    backend.reply(text('{"name": "Ann"}'))
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    form = {"type": "json_schema", "name": "person", "schema": schema, "strict": True}
    response = anyone.ask("Who?", text={"format": form, "verbosity": "low"})
    assert json.loads(response.output_text) == {"name": "Ann"}
    sent = backend.requests[-1].body
    assert sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "person", "schema": schema, "strict": True},
    }
    assert sent["verbosity"] == "low"
    assert response.text
    assert response.text.model_dump(exclude_none=True, by_alias=True)["format"] == form


def test_an_answer_that_is_too_long_is_incomplete(backend: ScriptedBackend, anyone: Asker):
    backend.reply(send("one two three four five six").but(piece=100))
    response = anyone.ask("Count.", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "one two three"
    assert response.output[0].model_dump()["status"] == "incomplete"


def test_a_refusal(backend: ScriptedBackend, anyone: Asker):
    refused = {"index": 0, "delta": {"refusal": "I will "}, "finish_reason": None}
    more = {"index": 0, "delta": {"refusal": "not."}, "finish_reason": "stop"}
    backend.reply(event({"choices": [refused]}) + event({"choices": [more]}))
    response = anyone.ask("Do it.", text={"format": {"type": "json_object"}})
    (item,) = response.output
    assert item.type == "message"
    assert [part.model_dump() for part in item.content] == [
        {"type": "refusal", "refusal": "I will not."}
    ]


def test_usage_is_the_sum_of_all_steps(backend: ScriptedBackend, anyone: Asker):
    backend.reply(call("recall_storage_search", {"query": "tea"}), send("Tea."))
    usage = anyone.ask("What do I like?").usage
    assert usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (200, 20, 220)
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_an_error_of_the_backend_keeps_its_status(backend: ScriptedBackend, anyone: Asker):
    told = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rl"}}
    backend.reply(error(429, told, headers={"retry-after": "7"}))
    with pytest.raises(openai.RateLimitError) as refused:
        anyone.ask("Hello.")
    assert refused.value.response.headers["retry-after"] == "7"
    assert refused.value.code == "rl"
