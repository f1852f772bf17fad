"""Backends without tools: calls forced by a schema where there is one, written as text else.

A client has from it what it has from any backend: a streamed reply, memory, calls of its tools.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from memgpt_proxy.agent.functions import FUNCTIONS
from memgpt_proxy.traits import Trait
from memgpt_proxy.wire import dialect
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, raw, tool, tool_result, user
from tests.e2e.exact import Exact, ask
from tests.e2e.refusing import Body, Refuses, Strict, gemma, no_tools, roles, written
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.llama import LlamaServer
from tests.support.replies import Gate, Reply, Text, choices, error, text, wait

WEATHER = tool("get_weather", city="string")
CLOCK = tool("get_time", zone="string")
KYIV = {"city": "Kyiv"}
FORCED = {"type": "function", "function": {"name": "get_weather"}}
COLOUR = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "colour", "schema": COLOUR}}
OFF = {"X-MemGPT-Memory": "off"}
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def listed(*calls: tuple[str, Any]) -> Reply:
    """Calls as a model writes them that a schema forces to."""
    items = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return text(json.dumps({"tool_calls": items}))


def says(message: str) -> tuple[str, Any]:
    return "send_message", {"message": message}


def schema(body: Body) -> Any:
    return body["response_format"]["json_schema"]["schema"]


def forced(body: Body) -> set[str]:
    """The functions of which a request's schema forces a call."""
    items = schema(body)["properties"]["tool_calls"]["items"]
    return {call["properties"]["name"]["enum"][0] for call in items.get("anyOf", [items])}


def no_schema(body: Body) -> str | None:
    if body.get("response_format", {}).get("type") == "json_schema":
        return "This response_format type is unavailable now"
    return no_tools(body)


def known(strict: Strict, person: Person) -> None:
    """Have it found out that the model's backend has no tools."""
    strict.answers.insert(0, listed(says("Hello.")))
    assert person.anew().say("Hello.").text == "Hello."
    strict.taken.clear()
    strict.refused = 0


# Forced by a schema


def test_memory_and_the_reply_in_one_forced_answer(backend: ScriptedBackend, anyone: Person):
    strict = Strict(no_tools, backend)
    append = ("working_context_append", {"content": "Pet: zorilla"})
    strict.answers += [listed(append, says("A zorilla, how nice!"))]
    answer = anyone.say("I have a zorilla.")
    assert (answer.text, answer.finish_reason) == ("A zorilla, how nice!", "stop")
    (body,) = strict.taken
    assert forced(body) == {*FUNCTIONS}
    assert "one JSON object" in body["messages"][0]["content"]

    search = ("recall_storage_search", {"query": "zorilla"})
    strict.answers += [listed(search), listed(says("Your zorilla."))]
    assert anyone.anew().say("What is my pet?").text == "Your zorilla."
    asked, found = strict.taken[-1]["messages"][-2:]
    assert json.loads(asked["content"]) == {
        "tool_calls": [{"name": "recall_storage_search", "arguments": {"query": "zorilla"}}]
    }
    assert "I have a zorilla." in found["content"]
    assert "Pet: zorilla" in strict.taken[-1]["messages"][0]["content"]
    assert strict.refused == 1


def test_a_message_is_streamed_while_the_backend_still_waits(
    backend: ScriptedBackend, person: Person
):
    gate = Gate()
    begun = listed(("working_context_append", {"content": "x"}), says("Hel|lo.")).parts[0]
    assert isinstance(begun, Text)
    first, _, rest = begun.text.partition("|")
    strict = Strict(no_tools, backend, [text(first) + wait(gate) + text(rest)])
    with streaming(person, [user("Hello.")]) as said:
        shown = next(said)
        while shown != "Hel":
            shown += next(said)
        assert not backend.requests[-1].answered.is_set()
        gate.open()
        assert "".join(said) == "lo."
    assert strict.refused == 1


@contextmanager
def streaming(person: Person, messages: Any, **options: Any) -> Iterator[Iterator[str]]:
    """The pieces of a reply's text as they come."""
    asked: Any = {"model": person.model, "messages": messages, **options, "stream": True}
    with (
        openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client,
        client.chat.completions.create(**asked) as stream,
    ):
        pieces = (chunk.choices[0].delta.content for chunk in stream if chunk.choices)
        yield (piece for piece in pieces if piece)


@pytest.mark.parametrize("choice", [None, "auto", "required", FORCED], ids=str)
def test_a_clients_tool(backend: ScriptedBackend, anyone: Person, choice: Any):
    strict = Strict(gemma, backend)
    options = {"tools": [WEATHER], **({"tool_choice": choice} if choice else {})}
    strict.answers += [listed(("get_weather", KYIV)), listed(says("It rains."))]
    asked = anyone.say("Weather?", **options)
    ((id, name, arguments),) = asked.calls
    assert (asked.text, name, json.loads(arguments)) == ("", "get_weather", KYIV)
    assert asked.finish_reason == "tool_calls"
    assert "get_weather" in forced(strict.taken[-1])
    assert ("send_message" in forced(strict.taken[-1])) is (choice in (None, "auto"))
    anyone.said.append(tool_result(id, "rain"))
    assert anyone.ask(anyone.said, tools=[WEATHER]).text == "It rains."
    assert "Result of get_weather:\nrain" in strict.taken[-1]["messages"][-1]["content"]


def test_a_model_that_is_not_held_to_the_schema_is_heard(backend: ScriptedBackend, anyone: Person):
    """Some servers take a schema and let the model write what it likes."""
    strict = Strict(no_tools, backend)
    strict.answers += [
        text("I note that.\n") + written("archival_storage_insert", content="Likes tea"),
        text("Noted."),
        text("```json\n") + listed(says("Tea.")) + text("\n```"),
    ]
    assert anyone.say("I like tea.").text == "Noted."
    assert anyone.say("What do I like?").text == "Tea."


def test_the_last_step_may_only_reply(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--max-steps", "2")
    strict = Strict(no_tools, backend)
    strict.answers += [listed(("recall_storage_search", {"query": "x"})), listed(says("Well."))]
    assert Person(gateway.base_url, api_key, model).say("Hello.").text == "Well."
    assert [forced(body) for body in strict.taken] == [{*FUNCTIONS}, {"send_message"}]


def test_plain_content_is_never_forced_into_json(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--reply-mode", "content")
    strict = Strict(no_tools, backend)
    strict.answers += [written("working_context_append", content="x", request_heartbeat=True)]
    strict.answers += [text("Plain words.")]
    assert Person(gateway.base_url, api_key, model).say("Hello.").text == "Plain words."
    assert not any("response_format" in body for body in strict.taken)


# Where the backend has no schema, or not for this


def unsaid(body: Body) -> str | None:
    return "Something is wrong." if "response_format" in body else no_tools(body)


@pytest.mark.parametrize("refuses", [no_schema, unsaid])
def test_a_refused_schema_is_remembered(backend: ScriptedBackend, anyone: Person, refuses: Refuses):
    strict = Strict(refuses, backend)
    strict.answers += [written("send_message", message="Hello!"), text("Again.")]
    assert anyone.say("Hello.").text == "Hello!"
    assert strict.refused == 2
    assert anyone.say("Hello?").text == "Again."
    assert strict.refused == 2, "it is remembered"
    for body in strict.taken:
        assert "on a line of its own" in body["messages"][0]["content"]
        assert "response_format" not in body


def test_a_passing_failure_of_the_server_teaches_nothing(backend: ScriptedBackend, person: Person):
    strict = Strict(no_tools, backend)
    known(strict, person)
    backend.script(lambda _: error(500))
    request = {"model": person.model, "messages": [user("Hello.")]}
    assert raw(person.base_url, person.api_key, **request).status_code == 500
    backend.script(strict.answer)
    strict.answers += [listed(says("Hello."))]
    assert person.say("Hello.").text == "Hello."
    assert "response_format" in strict.taken[-1]


def test_an_operator_says_that_there_is_no_schema(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--backend-profile", "no_tools,no_json_schema")
    strict = Strict(no_schema, backend, [text("Hello!")])
    assert Person(gateway.base_url, api_key, model).say("Hello.").text == "Hello!"
    assert strict.refused == 0


# The client's own schema


@STREAMS
def test_a_clients_schema_is_kept_and_memory_used_before(
    backend: ScriptedBackend, person: Person, stream: bool
):
    strict = Strict(no_tools, backend)
    known(strict, person)
    strict.answers += [
        listed(("recall_storage_search", {"query": "colour"})),
        text('{"colour": "blue"}'),
    ]
    answer = ask(person, stream, messages=[user("Which?")], response_format=FORMAT)
    assert answer.message["content"] == '{"colour": "blue"}'
    assert answer.choices[0]["finish_reason"] == "stop"
    first, second = strict.taken
    assert schema(first)["anyOf"][0] == COLOUR == schema(second)["anyOf"][0]
    assert "Result of recall_storage_search" in second["messages"][-1]["content"]
    assert strict.refused == 0


def test_a_clients_json_is_streamed_from_where_it_is_certain(
    backend: ScriptedBackend, person: Person
):
    gate = Gate()
    strict = Strict(no_tools, backend)
    known(strict, person)
    strict.answers += [text('{"colour"') + wait(gate) + text(': "blue"}')]
    with streaming(person, [user("Which?")], response_format=FORMAT) as said:
        first = next(said)
        assert not backend.requests[-1].answered.is_set()
        gate.open()
        assert first + "".join(said) == '{"colour": "blue"}'


def test_a_clients_schema_goes_alone_where_ours_beside_it_is_refused(
    backend: ScriptedBackend, person: Person
):
    def refuses(body: Body) -> str | None:
        wide = "anyOf" in json.dumps(body.get("response_format", {}))
        return "anyOf is not permitted at the root" if wide else no_tools(body)

    strict = Strict(refuses, backend, [text("Hello."), text('{"colour": "red"}')])
    person.say("Hello.")
    answer = person.say("Which?", response_format=FORMAT)
    assert answer.text == '{"colour": "red"}'
    assert strict.taken[-1]["response_format"] == FORMAT


# Calls of the client's tools in clean turns and without memory


def called(answer: Exact, choice: int = 0) -> list[tuple[str, Any]]:
    message = answer.choices[choice]["message"]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    assert all(call["id"] for call in message.get("tool_calls") or ())
    return [(each["name"], json.loads(each["arguments"])) for each in functions]


LINES = text("Let me look.\n") + written("get_weather", **KYIV)


@STREAMS
def test_with_memory_off_no_function_is_ours(
    backend: ScriptedBackend, person: Person, stream: bool
):
    """What speaks of a function that bears the name of one is an answer like any other."""
    strict = Strict(no_tools, backend)
    known(strict, person)
    said = 'Write:\nsend_message("Hi.")\n{"name": "send_message", "arguments": {"message": "Hi."}}'
    strict.answers += [text(said)]
    asked: Body = {"messages": [user("How?")], "tools": [WEATHER], "extra_headers": OFF}
    assert ask(person, stream, **asked).message["content"] == said


@STREAMS
@pytest.mark.parametrize("off", [False, True], ids=["clean", "memory off"])
def test_calls_come_out_of_the_text_as_calls(
    backend: ScriptedBackend, person: Person, stream: bool, off: bool
):
    strict = Strict(no_tools, backend)
    known(strict, person)
    how: dict[str, Any] = {"extra_headers": OFF} if off else {"n": 1, "logprobs": True}
    request: Body = {"messages": [user("Weather?")], "tools": [WEATHER, CLOCK], **how}
    strict.answers += [LINES, text("It rains.")]
    answer = ask(person, stream, **request)
    assert called(answer) == [("get_weather", KYIV)]
    assert answer.choices[0]["finish_reason"] == "tool_calls"
    assert answer.message["content"].strip() == "Let me look."
    (body,) = strict.taken
    assert "response_format" not in body, "plain text may be the answer"
    assert "get_time" in body["messages"][0]["content"]
    assert ("working_context_append" in str(body)) is not off

    (call,) = answer.message["tool_calls"]
    request["messages"] += [answer.message, tool_result(call["id"], "rain")]
    answer = ask(person, stream, **request)
    assert (answer.message["content"], called(answer)) == ("It rains.", [])
    assert answer.choices[0]["finish_reason"] == "stop"
    assert {*roles(strict.taken[-1])} <= {"system", "user", "assistant"}
    assert "Result of get_weather:\nrain" in strict.taken[-1]["messages"][-1]["content"]


@STREAMS
def test_each_choice_has_its_own(backend: ScriptedBackend, person: Person, stream: bool):
    strict = Strict(no_tools, backend)
    known(strict, person)
    strict.answers += [choices(LINES, text("It rains."))]
    answer = ask(person, stream, messages=[user("Weather?")], tools=[WEATHER], n=2)
    assert (called(answer, 0), called(answer, 1)) == ([("get_weather", KYIV)], [])
    assert [each["finish_reason"] for each in answer.choices] == ["tool_calls", "stop"]


@STREAMS
@pytest.mark.parametrize("choice", ["required", FORCED], ids=str)
def test_without_memory_a_required_tool_is_forced(
    backend: ScriptedBackend, person: Person, choice: Any, stream: bool
):
    strict = Strict(no_tools, backend)
    known(strict, person)
    strict.answers += [listed(("get_weather", KYIV))]
    asked: Body = {"messages": [user("Weather?")], "tools": [WEATHER, CLOCK]}
    answer = ask(person, stream, **asked, tool_choice=choice, extra_headers=OFF)
    assert called(answer) == [("get_weather", KYIV)]
    assert answer.choices[0]["finish_reason"] == "tool_calls"
    assert not answer.message["content"]
    expected = {"get_weather"} if choice is FORCED else {"get_weather", "get_time"}
    assert forced(strict.taken[-1]) == expected


@STREAMS
def test_without_memory_a_choice_of_no_tool_makes_calls_text(
    backend: ScriptedBackend, person: Person, stream: bool
):
    strict = Strict(no_tools, backend)
    known(strict, person)
    words = json.dumps({"name": "get_weather", "arguments": KYIV})
    strict.answers += [text(words)]
    asked: Body = {"messages": [user("Weather?")], "tools": [WEATHER], "tool_choice": "none"}
    answer = ask(person, stream, **asked, extra_headers=OFF)
    assert (answer.message["content"], called(answer)) == (words, [])
    assert strict.taken[-1]["messages"] == [user("Weather?")]


@STREAMS
@pytest.mark.parametrize("off", [False, True], ids=["clean", "memory off"])
def test_a_deprecated_function_is_called(
    backend: ScriptedBackend, person: Person, stream: bool, off: bool
):
    strict = Strict(no_tools, backend)
    known(strict, person)
    strict.answers += [written("get_weather", **KYIV)]
    how = {"extra_headers": OFF} if off else {}
    asked: Body = {"messages": [user("Weather?")], "functions": [WEATHER["function"]]}
    answer = ask(person, stream, **asked, **how)
    told = answer.message["function_call"]
    assert (told["name"], json.loads(told["arguments"])) == ("get_weather", KYIV)
    assert answer.choices[0]["finish_reason"] == "function_call"


def test_without_memory_all_else_passes_as_it_came(backend: ScriptedBackend, person: Person):
    strict = Strict(no_tools, backend)
    request: Body = {"model": person.model, "messages": [user("Hello.")], "extra": [1, {}]}
    known(strict, person)
    strict.answers += [text("Hi.")]
    person.ask(request["messages"], extra_body={"extra": [1, {}]}, extra_headers=OFF)
    assert strict.taken[-1] == request


def test_without_memory_tools_pass_as_they_came_where_nothing_is_known(
    backend: ScriptedBackend, person: Person
):
    Strict(no_tools, backend)
    with pytest.raises(openai.BadRequestError, match="does not support tools"):
        person.ask([user("Weather?")], tools=[WEATHER], extra_headers=OFF)


@STREAMS
def test_a_response_without_memory_learns_by_itself(
    backend: ScriptedBackend, person: Person, stream: bool
):
    strict = Strict(gemma, backend, [written("get_weather", **KYIV), text("It rains.")])
    with openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client:

        def create(items: Any) -> Any:
            asked: Any = {"model": person.model, "input": items, "instructions": "Be kind."}
            asked["tools"] = [{**WEATHER["function"], "type": "function", "strict": False}]
            response: Any = client.responses.create(**asked, extra_headers=OFF, stream=stream)
            return [*response][-1].response if stream else response

        first = create("Weather?")
        (call,) = (item for item in first.output if item.type == "function_call")
        assert (call.name, json.loads(call.arguments)) == ("get_weather", KYIV)
        refused = strict.refused
        assert refused
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        items = [user("Weather?"), call.model_dump(exclude_none=True), result]
        assert create(items).output_text == "It rains."
        assert strict.refused == refused, "it is remembered"


def test_a_summary_learns_by_itself(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    """Its model is another one, which nobody has asked before."""
    gateway = start_gateway("--context-window", "4096", "--summary-model", f"{model}-s")

    def answer(body: Body) -> Reply:
        if body["model"] == model:
            return listed_call
        if roles(body)[0] == "system":
            refused.append(body)
            return error(400, {"error": {"message": "System role not supported"}})
        asked.append(body)
        return text("They spoke of tea.")

    listed_call = text("Noted.")
    refused: list[Body] = []
    asked: list[Body] = []
    backend.script(answer)
    person = Person(gateway.base_url, api_key, model)
    for number in range(12):
        person.say(f"{number} " + "tea milk sugar " * 120)
    assert len(asked) > 1
    assert len(refused) == 1
    assert "They spoke of tea." in str(asked[1])


# A real server that writes nonsense, but only what its grammar admits


@pytest.fixture(scope="module")
def llama(
    llama_binary: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LlamaServer]:
    directory = tmp_path_factory.mktemp("llama")
    with LlamaServer(llama_binary, tiny_model, directory, "--no-jinja", slots=1) as server:
        yield server


TREE = {
    "name": "plant",
    "parameters": {
        "type": "object",
        "properties": {"kind": {"$ref": "#/$defs/Kind"}},
        "required": ["kind"],
        "additionalProperties": False,
        "$defs": {"Kind": {"type": "string", "enum": ["oak", "yew"]}},
    },
}


@pytest.mark.llama
def test_a_real_server_keeps_to_the_schema(llama: LlamaServer, api_key: str):
    parameters = {each.name: each.tool()["function"]["parameters"] for each in FUNCTIONS.values()}
    tools = [each.tool() for each in FUNCTIONS.values()]
    request = {"model": "tiny", "messages": [user("Hello!")], "tools": tools, "max_tokens": 600}
    body = dialect.written(request, frozenset({Trait.NO_TOOLS}), by_call=True)
    named = set()
    for seed in range(8):
        answer = raw(llama.base_url, api_key, **body, seed=seed).json()["choices"][0]
        assert answer["finish_reason"] == "stop"
        for call in json.loads(answer["message"]["content"])["tool_calls"]:
            named.add(call["name"])
            wanted = parameters[call["name"]]
            assert {*wanted["required"]} <= {*call["arguments"]} <= {*wanted["properties"]}
    assert len(named) > 1


@pytest.mark.llama
def test_a_real_server_without_tools_is_asked_by_schema(
    llama: LlamaServer, api_key: str, tmp_path: Path
):
    with GatewayProcess(tmp_path, llama.base_url, "--max-steps", "4") as gateway:
        for seed in range(4):
            asked: Body = {"model": "tiny", "messages": [user(f"Hello {seed}!")], "seed": seed}
            answer = raw(gateway.base_url, api_key, **asked)
            # A model of nonsense may never come to speak.
            assert answer.status_code == 200 or answer.json()["error"]["code"] == "no_reply"
            assert "tool_calls" not in answer.text
            assert not any(name in answer.text for name in FUNCTIONS)
        log = gateway.log()
    assert "'tiny' takes requests only so: no_tools" in log
    assert "no_json_schema" not in log


@pytest.mark.llama
@pytest.mark.parametrize("off", [False, True], ids=["memory", "memory off"])
@STREAMS
def test_a_real_server_without_tools_calls_a_required_one(
    llama: LlamaServer, api_key: str, tmp_path: Path, stream: bool, off: bool
):
    with GatewayProcess(tmp_path, llama.base_url) as gateway:
        person = Person(gateway.base_url, api_key, "tiny")
        ask(person, stream, messages=[user("Hi")], response_format=FORMAT, max_tokens=300)
        answer = ask(
            person,
            stream,
            messages=[user("Plant a tree.")],
            tools=[{"type": "function", "function": TREE}],
            tool_choice={"type": "function", "function": {"name": "plant"}},
            parallel_tool_calls=False,
            seed=5,
            extra_headers=OFF if off else {},
        )
    ((name, arguments),) = called(answer)
    assert name == "plant"
    assert arguments in ({"kind": "oak"}, {"kind": "yew"})
    assert answer.choices[0]["finish_reason"] == "tool_calls"
