"""Each client does what it can do, with memory in between and without noticing it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.clients.conftest import Caller
from tests.clients.program import Failure
from tests.clients.roster import CLIENTS
from tests.e2e.chatting import call_in_pieces, results, send
from tests.e2e.prompts import recalled, system
from tests.support.backend import ScriptedBackend
from tests.support.replies import Gate, Reply, Usage, call, error, hang, text, thoughts

FACT = "Name is Sam"
REMEMBER = thoughts("Worth keeping.") + call(
    "working_context_append", {"content": FACT, "request_heartbeat": True}
)
APPENDED = "Appended. Working context: 11 / 8 000 characters."
OSLO = call("get_weather", {"city": "Oslo"})
LIMA = call("get_weather", {"city": "Lima"})
SAM = {"name": "Sam", "age": 36}
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)


def clients_with(behaviour: str) -> pytest.MarkDecorator:
    """Run the test with each client that can do this."""
    able = [client for client in CLIENTS if client.can(behaviour)]
    return pytest.mark.parametrize(
        "caller", able, ids=[client.name for client in able], indirect=True
    )


@clients_with("answer")
def test_a_plain_answer(backend: ScriptedBackend, caller: Caller):
    backend.reply(thoughts("Someone new.") + send("Hello, “Sam” – grüß dich!\nHow are you? 🙂"))
    answer = caller.do("ask", prompts=["hello"])
    assert answer["texts"] == ["Hello, “Sam” – grüß dich!\nHow are you? 🙂"]


@clients_with("stream")
def test_pieces_arrive_while_the_model_writes(backend: ScriptedBackend, caller: Caller):
    rest = Gate()
    said = call_in_pieces("send_message", '{"message": "First', rest, ' and second."}')
    backend.reply((thoughts("Someone new.") + said).but(finish_reason="tool_calls"))
    asking = caller.begin("ask", prompts=["hello"], stream=True)
    try:
        first = asking.piece()
    finally:
        rest.open()
    assert first
    assert "First".startswith(first)
    assert asking.result()["texts"] == ["First and second."]
    assert "".join(asking.pieces) == "First and second."


@clients_with("memory")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_one_conversation_tells_is_known_in_another(
    backend: ScriptedBackend, caller: Caller, stream: bool
):
    backend.reply(REMEMBER, send("Noted."), send("You are Sam."))
    told = caller.do("ask", prompts=["My name is Sam."], stream=stream)
    asked = caller.do("ask", prompts=["Who am I?"], stream=stream)
    assert (told["texts"], asked["texts"]) == (["Noted."], ["You are Sam."])
    assert FACT in system(backend.requests[2])


@clients_with("history")
def test_a_conversation_goes_on_with_its_hidden_steps(backend: ScriptedBackend, caller: Caller):
    backend.reply(REMEMBER, send("Noted."), send("You are Sam."))
    answer = caller.do("ask", prompts=["My name is Sam.", "Who am I?"])
    assert answer["texts"] == ["Noted.", "You are Sam."]
    before, sent = backend.requests[1].body["messages"], backend.requests[2].body["messages"]
    assert sent[: len(before)] == before
    assert names_called(sent) == ["working_context_append", "send_message"]
    assert sent[-1] == {"role": "user", "content": "Who am I?"}


def names_called(messages: list[dict[str, Any]]) -> list[str]:
    """The functions that a prompt shows as called, in order."""
    return [c["function"]["name"] for m in messages for c in m.get("tool_calls") or []]


@clients_with("tools")
def test_a_tool_is_run_beside_a_memory_function(backend: ScriptedBackend, caller: Caller):
    backend.reply(REMEMBER + OSLO, send("It is 7 degrees."))
    answer = caller.do("use_tools", prompt="I am Sam. How is the weather in Oslo?")
    assert (answer["text"], answer["told"]) == ("It is 7 degrees.", ["Oslo"])
    assert results(backend.requests[1]) == [APPENDED, "7 degrees"]


@clients_with("parallel")
def test_two_tools_are_run_at_once(backend: ScriptedBackend, caller: Caller):
    backend.reply(OSLO + LIMA, send("7 and 19."))
    answer = caller.do("use_tools", prompt="How is the weather in Oslo and in Lima?")
    assert (answer["text"], sorted(answer["told"])) == ("7 and 19.", ["Lima", "Oslo"])
    assert results(backend.requests[1]) == ["7 degrees", "19 degrees"]


@clients_with("streamed tools")
def test_two_tools_are_run_in_a_stream(backend: ScriptedBackend, caller: Caller):
    backend.reply(REMEMBER + OSLO + LIMA, send("7 and 19."))
    answer = caller.do("use_tools", prompt="How is it in Oslo and in Lima?", stream=True)
    assert (answer["text"], sorted(answer["told"])) == ("7 and 19.", ["Lima", "Oslo"])
    assert results(backend.requests[1]) == [APPENDED, "7 degrees", "19 degrees"]


@clients_with("structure")
def test_an_answer_by_a_schema(backend: ScriptedBackend, caller: Caller):
    backend.script(by_schema)
    answer = caller.do("structured", prompt="Sam is 36.")
    assert answer["value"] == SAM


def by_schema(request: dict[str, Any]) -> Reply:
    """What a model answers that keeps to the schema asked for."""
    match request:
        case {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}:
            assert set(schema["properties"]) == set(SAM)
            return text('{"name": "Sam", "age": 36}')
        case {"tool_choice": {"function": {"name": name}}}:
            return call(name, SAM)
        case {"tool_choice": "required", "tools": [*_, {"function": {"name": name}}]}:
            return call(name, SAM)  # the client's comes behind the memory functions
        case _:
            raise AssertionError(f"no schema is asked for: {request}")


@clients_with("usage")
def test_usage_is_that_of_all_steps(backend: ScriptedBackend, caller: Caller):
    backend.reply(*counted())
    answer = caller.do("ask", prompts=["My name is Sam."])
    assert answer["usage"] == {"input": 250, "output": 15}


@clients_with("streamed usage")
def test_usage_at_the_end_of_a_stream(backend: ScriptedBackend, caller: Caller):
    backend.reply(*counted())
    answer = caller.do("ask", prompts=["My name is Sam."], stream=True)
    assert answer["usage"] == {"input": 250, "output": 15}


def counted() -> list[Reply]:
    """Two steps with counts of their own."""
    steps = [(REMEMBER, Usage(100, 10)), (send("Noted."), Usage(150, 5))]
    return [reply.but(usage=usage) for reply, usage in steps]


@clients_with("retry")
def test_the_clients_own_retry_stores_nothing_twice(backend: ScriptedBackend, caller: Caller):
    backend.reply(REMEMBER, error(429, headers={"retry-after": "1"}), REMEMBER, send("Noted."))
    answer = caller.do("ask", prompts=["My name is Sam."])
    assert answer["texts"] == ["Noted."]
    assert working_context(caller) == FACT
    assert recalled(backend, caller.person(), "Sam") == ["My name is Sam."]


def working_context(caller: Caller) -> str:
    url = caller.base_url.removesuffix("/v1") + "/memgpt/working-context"
    answer = httpx.get(url, headers={"authorization": f"Bearer {caller.api_key}"})
    return answer.json()["content"]


@clients_with("error")
def test_the_backends_words_on_a_mistake(backend: ScriptedBackend, caller: Caller):
    mistake = {"message": "The widget is too blue.", "type": "invalid_request_error"}
    backend.reply(error(400, {"error": {**mistake, "param": "widget", "code": "too_blue"}}))
    with pytest.raises(Failure, match=r"The widget is too blue\.") as failure:
        caller.do("ask", prompts=["hello"])
    assert failure.value.status in (400, None)


@clients_with("picture")
def test_a_picture_reaches_the_model(backend: ScriptedBackend, caller: Caller):
    backend.reply(send("A dot."))
    answer = caller.do("ask", prompts=["What is this?"], picture=DOT)
    assert answer["texts"] == ["A dot."]
    said = backend.requests[0].body["messages"][-1]["content"]
    assert [part["text"] for part in said if part["type"] == "text"] == ["What is this?"]
    shown = [part["image_url"]["url"] for part in said if part["type"] == "image_url"]
    assert shown == [DOT]


@clients_with("leaving")
def test_leaving_amid_a_stream_ends_the_backends_call(backend: ScriptedBackend, caller: Caller):
    backend.reply(call_in_pieces("send_message", '{"message": "First') + hang())
    caller.do("leave", prompt="hello")
    backend.requests[0].wait_disconnected()
