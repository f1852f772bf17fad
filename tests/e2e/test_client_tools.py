"""The client's own tools beside the memory functions, and what only the backend can answer."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.e2e.chatting import (
    Person,
    from_chunks,
    offered,
    results,
    send,
    tool,
    tool_result,
    user,
)
from tests.support.backend import ScriptedBackend
from tests.support.replies import call, event, text, thoughts

WEATHER = tool("get_weather", city="string")
CLOCK = tool("get_time", zone="string")
OURS = [
    "send_message",
    "working_context_append",
    "working_context_replace",
    "archival_storage_insert",
    "archival_storage_search",
    "recall_storage_search",
    "recall_storage_search_date",
]
OSLO = '{"city": "Oslo"}'


@pytest.fixture
def with_tools(anyone: Person) -> Person:
    anyone.options["tools"] = [WEATHER, CLOCK]
    return anyone


def tail(backend: ScriptedBackend, number: int) -> list[dict[str, Any]]:
    """A prompt from the first words of its user on, without instructions and the day's alert."""
    messages = backend.requests[number].body["messages"]
    assert [m["role"] for m in messages[:2]] == ["system", "user"]
    assert messages[1]["content"].startswith("System Alert: Today is ")
    return messages[2:]


def called(*calls: tuple[str, str, str], content: str | None = None) -> dict[str, Any]:
    """An assistant message with calls."""
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in calls
        ],
    }


def test_both_kinds_of_tools_are_offered(backend: ScriptedBackend, with_tools: Person):
    backend.reply(send("Hi."))
    with_tools.say("hello")
    assert offered(backend.requests[0]) == [*OURS, "get_weather", "get_time"]
    assert backend.requests[0].body["tools"][-2:] == [WEATHER, CLOCK]


def test_a_call_of_the_clients_tool_goes_to_the_client(
    backend: ScriptedBackend, with_tools: Person
):
    backend.reply(thoughts("I need the weather.") + call("get_weather", OSLO, id="call_w"))
    answer = with_tools.say("How is the weather?")
    assert answer.calls == [("call_w", "get_weather", OSLO)]
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")


def test_a_paused_turn_goes_on_with_the_clients_results(
    backend: ScriptedBackend, with_tools: Person
):
    fact = json.dumps({"content": "Lives in Oslo"})
    backend.reply(
        thoughts("Two things.")
        + call("working_context_append", fact, id="call_m")
        + call("get_weather", OSLO, id="call_w"),
        send("It is 4 °C."),
    )
    asked = with_tools.say("I live in Oslo. How is the weather?")
    assert asked.calls == [("call_w", "get_weather", OSLO)]
    with_tools.said.append(tool_result("call_w", "4 °C"))
    assert with_tools.ask(with_tools.said).text == "It is 4 °C."
    assert tail(backend, 1) == [
        user("I live in Oslo. How is the weather?"),
        called(
            ("call_m", "working_context_append", fact),
            ("call_w", "get_weather", OSLO),
            content="Two things.",
        ),
        tool_result("call_m", "Appended. Working context: 13 / 8 000 characters."),
        tool_result("call_w", "4 °C"),
    ]


def test_steps_before_the_pause_are_put_back_too(backend: ScriptedBackend, with_tools: Person):
    search = json.dumps({"query": "home"})
    backend.reply(
        call("recall_storage_search", search, id="call_r"),
        call("get_weather", OSLO, id="call_w"),
        send("It is 4 °C."),
        send("Bye."),
    )
    with_tools.say("How is the weather?")
    with_tools.said.append(tool_result("call_w", "4 °C"))
    with_tools.said.append(with_tools.ask(with_tools.said).message())
    with_tools.say("Thanks.")
    sent = json.dumps({"message": "It is 4 °C."}, ensure_ascii=False)
    assert tail(backend, 3) == [
        user("How is the weather?"),
        called(("call_r", "recall_storage_search", search)),
        tool_result("call_r", "Showing 0 of 0 results (page 1/1)."),
        called(("call_w", "get_weather", OSLO)),
        tool_result("call_w", "4 °C"),
        called(("call_0_0", "send_message", sent)),
        tool_result("call_0_0", "Message sent."),
        user("Thanks."),
    ]


def test_parallel_calls_of_both_kinds_keep_dense_indices(
    backend: ScriptedBackend, with_tools: Person
):
    zone = '{"zone": "Europe/Oslo"}'
    backend.reply(
        call("archival_storage_search", {"query": "Oslo"}, id="call_1")
        + call("get_weather", OSLO, id="call_2")
        + call("working_context_append", {"content": "Asks about Oslo"}, id="call_3")
        + call("get_time", zone, id="call_4"),
        send("4 °C at noon."),
    )
    answer = with_tools.say("Weather and time in Oslo?")
    assert answer.calls == [("call_2", "get_weather", OSLO), ("call_4", "get_time", zone)]
    with_tools.said += [tool_result("call_4", "12:00"), tool_result("call_2", "4 °C")]
    assert with_tools.ask(with_tools.said).text == "4 °C at noon."
    assert [(m["role"], m.get("tool_call_id")) for m in tail(backend, 1)] == [
        ("user", None),
        ("assistant", None),
        ("tool", "call_1"),
        ("tool", "call_3"),
        ("tool", "call_4"),
        ("tool", "call_2"),
    ]


def test_a_message_beside_a_call_is_said(backend: ScriptedBackend, with_tools: Person):
    backend.reply(
        call("send_message", {"message": "One moment."}, id="call_s")
        + call("get_weather", OSLO, id="call_w"),
        send("4 °C."),
    )
    answer = with_tools.say("Weather?")
    assert answer.text == "One moment."
    assert answer.calls == [("call_w", "get_weather", OSLO)]
    assert answer.finish_reason == "tool_calls"
    with_tools.said.append(tool_result("call_w", "4 °C"))
    assert with_tools.ask(with_tools.said).text == "4 °C."
    ids = [m.get("tool_call_id") for m in tail(backend, 1) if m["role"] == "tool"]
    assert ids == ["call_s", "call_w"]


def test_a_call_without_arguments_is_a_call(backend: ScriptedBackend, with_tools: Person):
    backend.reply(call("get_time", "", id="call_t"))
    ((id, name, arguments),) = with_tools.say("What time is it?").calls
    assert (id, name, json.loads(arguments)) == ("call_t", "get_time", {})


@pytest.mark.parametrize("arguments", ['{"city": "Os', "Oslo, please", '{"city": "\\u00d8"}'])
def test_arguments_are_the_models_own_letter_for_letter(
    backend: ScriptedBackend, with_tools: Person, arguments: str
):
    backend.reply(call("get_weather", arguments, id="call_w"))
    assert with_tools.say("Weather?").calls == [("call_w", "get_weather", arguments)]


def test_a_call_written_as_text_is_a_call_for_the_client(
    backend: ScriptedBackend, with_tools: Person
):
    backend.reply(text('{"name": "get_weather", "arguments": {"city": "Oslo"}}'))
    answer = with_tools.say("Weather?")
    ((_, name, arguments),) = answer.calls
    assert (answer.text, name, json.loads(arguments)) == ("", "get_weather", {"city": "Oslo"})


def test_calls_without_an_id_get_one_that_no_other_has(
    backend: ScriptedBackend, with_tools: Person
):
    piece = {"index": 0, "function": {"name": "get_weather", "arguments": OSLO}}
    nameless = event({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]})
    written = text(json.dumps({"name": "get_weather", "arguments": {"city": "Oslo"}}))
    ids = []
    for reply in (nameless, nameless, written, written):
        backend.reply(reply)
        ids += [id for id, _, _ in with_tools.anew().say("Weather?").calls]
    assert len(set(ids)) == 4


def test_a_call_with_the_id_of_one_of_ours_gets_its_result(
    backend: ScriptedBackend, with_tools: Person
):
    """Some backends give all calls one id."""
    note = call("working_context_append", {"content": "Lives in Oslo"}, id="0")
    backend.reply(note + call("get_weather", OSLO, id="0"), send("4 degrees."))
    ((id, name, _),) = with_tools.say("Weather at home?").calls
    assert name == "get_weather"
    assert with_tools.ask([*with_tools.said, tool_result(id, "4")]).text == "4 degrees."
    made, *told = tail(backend, 1)[-3:]
    assert [m["tool_call_id"] for m in told] == [c["id"] for c in made["tool_calls"]]
    assert told[-1]["content"] == "4"


def test_tool_results_are_found_by_nobody(backend: ScriptedBackend, with_tools: Person):
    backend.reply(
        call("get_weather", OSLO, id="call_w"),
        send("It is cold."),
        call("recall_storage_search", {"query": "quicksilver"}),
        send("Nothing."),
    )
    with_tools.say("Weather?")
    with_tools.said.append(tool_result("call_w", "quicksilver at 4 °C"))
    with_tools.ask(with_tools.said)
    with_tools.anew().say("Search.")
    assert results(backend.requests[3]) == ["Showing 0 of 0 results (page 1/1)."]


def test_results_of_a_turn_that_nobody_knows_are_taken_as_they_are(
    backend: ScriptedBackend, with_tools: Person
):
    """A client that comes with a history from elsewhere, in the middle of a tool call."""
    backend.reply(send("It is 4 °C."))
    history = [
        user("Weather?"),
        called(("call_x", "get_weather", OSLO)),
        tool_result("call_x", "4 °C"),
    ]
    assert with_tools.ask(history).text == "It is 4 °C."
    sent = backend.requests[0].body["messages"]
    assert sent[-2:] == history[-2:]
    assert user("Weather?") in sent


# tool_choice


def test_tool_choice_none_offers_none_of_the_clients_tools(
    backend: ScriptedBackend, with_tools: Person
):
    backend.reply(send("I cannot look."))
    assert with_tools.say("Weather?", tool_choice="none").text == "I cannot look."
    assert offered(backend.requests[0]) == OURS
    assert backend.requests[0].body.get("tool_choice") in (None, "auto")


def test_tool_choice_auto_offers_all(backend: ScriptedBackend, with_tools: Person):
    backend.reply(send("Hi."))
    with_tools.say("Weather?", tool_choice="auto", parallel_tool_calls=False)
    assert offered(backend.requests[0]) == [*OURS, "get_weather", "get_time"]
    assert backend.requests[0].body["parallel_tool_calls"] is False


def test_a_tool_named_like_one_of_ours_is_the_clients(backend: ScriptedBackend, anyone: Person):
    mine = tool("archival_storage_search", needle="string")
    anyone.options["tools"] = [mine]
    backend.reply(call("archival_storage_search", {"needle": "x"}, id="call_a"))
    answer = anyone.say("Search.")
    assert answer.calls == [("call_a", "archival_storage_search", '{"needle": "x"}')]
    assert offered(backend.requests[0]).count("archival_storage_search") == 1
    assert mine in backend.requests[0].body["tools"]


def test_a_tool_named_send_message_is_the_clients(backend: ScriptedBackend, anyone: Person):
    mine = tool("send_message", to="string")
    anyone.options["tools"] = [mine]
    backend.reply(
        call("send_message", {"to": "Ann"}, id="call_s"),
        text("It is sent."),
    )
    answer = anyone.say("Write to Ann.")
    assert answer.calls == [("call_s", "send_message", '{"to": "Ann"}')]
    assert answer.text == ""
    anyone.said.append(tool_result("call_s", "sent"))
    assert anyone.ask(anyone.said).text == "It is sent."


def test_the_sdks_own_parser_reads_the_stream(backend: ScriptedBackend, person: Person):
    """``client.chat.completions.stream`` is stricter about chunks than plain iteration."""
    strict: Any = [{"type": "function", "function": {**WEATHER["function"], "strict": True}}]
    backend.reply(thoughts("Hm.") + call("get_weather", OSLO, id="call_w"))
    with (
        openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client,
        client.chat.completions.stream(
            model=person.model,
            messages=[{"role": "user", "content": "Weather?"}],
            tools=strict,
        ) as stream,
    ):
        events = list(stream)
        final = stream.get_final_completion()
    chunks = [e.chunk for e in events if e.type == "chunk"]
    assert from_chunks(chunks).calls == [("call_w", "get_weather", OSLO)]
    (parsed,) = final.choices[0].message.tool_calls or []
    assert parsed.function.arguments == OSLO
