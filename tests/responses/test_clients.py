"""What the ``openai`` package does beside plain requests: streams, parsing, looking back."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pydantic
import pytest
from openai.lib._pydantic import to_strict_json_schema

from tests.e2e.chatting import call_in_pieces, send
from tests.e2e.prompts import remember
from tests.responses.asking import Asker, calls, gathered, output, tool
from tests.responses.test_turns import said
from tests.support.backend import ScriptedBackend
from tests.support.replies import Gate, Reply, call, event, hang, text, thoughts

pytestmark = pytest.mark.slow


class Person(pydantic.BaseModel):
    name: str
    age: int


class GetWeather(pydantic.BaseModel):
    """The weather in a city."""

    city: str


ANN = '{"name": "Ann", "age": 7}'


def test_parse_gives_an_object(backend: ScriptedBackend, client: openai.OpenAI, model: str):
    backend.reply(text(ANN))
    response = client.responses.parse(model=model, input="Who?", text_format=Person)
    assert response.output_parsed == Person(name="Ann", age=7)
    form = backend.requests[-1].body["response_format"]
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"] == to_strict_json_schema(Person)


def test_a_stream_is_parsed(backend: ScriptedBackend, client: openai.OpenAI, model: str):
    backend.reply(text(ANN))
    with client.responses.stream(model=model, input="Who?", text_format=Person) as stream:
        deltas = [each.delta for each in stream if each.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == ANN
    assert final.output_parsed == Person(name="Ann", age=7)


async def test_a_stream_is_parsed_async(backend: ScriptedBackend, asker: Asker):
    backend.reply(call("GetWeather", {"city": "Oslo"}, id="call_w"))
    tools = [openai.pydantic_function_tool(GetWeather)["function"]]
    asked: Any = [{"type": "function", **each} for each in tools]
    async with (
        openai.AsyncOpenAI(base_url=asker.base_url, api_key=asker.api_key) as client,
        client.responses.stream(model=asker.model, input="How is it?", tools=asked) as stream,
    ):
        final = await stream.get_final_response()
    (made,) = final.output
    assert made.type == "function_call"
    assert made.parsed_arguments == {"city": "Oslo"}
    assert backend.requests[-1].body["tools"][-1]["function"]["strict"] is True


def test_text_comes_while_it_is_written(
    backend: ScriptedBackend, client: openai.OpenAI, model: str
):
    gate = Gate()
    backend.reply(call_in_pieces("send_message", '{"message": "Hel', gate, 'lo."}'))
    seen = []
    with client.responses.create(model=model, input="Hi.", stream=True) as stream:
        for each in stream:
            seen.append(each)
            if each.type == "response.output_text.delta":
                gate.open()
    assert gathered(seen).output_text == "Hello."
    assert len([each for each in seen if each.type == "response.output_text.delta"]) > 1


def test_a_stream_that_breaks_off_has_failed(backend: ScriptedBackend, asker: Asker):
    backend.reply(send("Hello, Ann.").die_after(events=8))
    response = asker.post(stream=True)
    events = events_of(response)
    assert events[0]["type"] == "response.created"
    last = events[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == "server_error"
    backend.reply(send("Yes."))
    asker.ask("And?", previous_response_id=last["response"]["id"])  # what was said is stored
    assert said(backend)[0] == "Hello."


def test_a_failure_before_the_first_word_is_a_status(backend: ScriptedBackend, asker: Asker):
    backend.reply(event({"error": {"message": "no", "code": "x"}}))
    response = asker.post(stream=True)
    assert response.status_code == 502
    assert response.json()["error"]["message"] == "no"


def test_the_wire_is_that_of_events(backend: ScriptedBackend, asker: Asker):
    backend.reply(send("Hi."))
    response = asker.post(stream=True, stream_options={"include_obfuscation": False})
    assert response.headers["content-type"].startswith("text/event-stream")
    for part in response.text.strip().split("\n\n"):
        name, data = part.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"


def test_a_client_that_leaves_ends_the_backends_call(
    backend: ScriptedBackend, client: openai.OpenAI, model: str
):
    backend.reply(call_in_pieces("send_message", '{"message": "Hel') + hang())
    with client.responses.create(model=model, input="Hi.", stream=True) as stream:
        created = next(iter(stream))
    backend.requests[0].wait_disconnected()
    assert created.type == "response.created"


@pytest.mark.parametrize("stream", [True, False])
def test_without_memory_the_backend_answers_alone(
    backend: ScriptedBackend, asker: Asker, stream: bool
):
    backend.reply(remember("Name is Ann"), text("Hello.") + call("f", {"a": 1}, id="call_f"))
    asker.ask("I am Ann.")
    off = {"x-memgpt-memory": "off"}
    tools = [tool("f", a="integer")]
    request: Any = {"model": asker.model, "input": "Who am I?", "instructions": "Be kind."}
    request |= {"tools": tools, "temperature": 0.5, "extra_headers": off, "stream": stream}
    with openai.OpenAI(base_url=asker.base_url, api_key=asker.api_key) as client:
        answer: Any = client.responses.create(**request)
        response = gathered(answer) if stream else answer
    assert response.output_text == "Hello."
    assert calls(response) == [("call_f", "f", '{"a": 1}')]
    assert response.usage
    assert response.usage.input_tokens == 100
    sent = backend.requests[-1].body
    assert sent["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Who am I?"},
    ]
    assert [each["function"]["name"] for each in sent["tools"]] == ["f"]
    assert sent["temperature"] == 0.5
    assert response.model_dump()["store"] is False
    with pytest.raises(openai.BadRequestError) as refused:
        asker.ask("And?", previous_response_id=response.id, extra_headers=off)
    assert refused.value.param == "previous_response_id"


def test_a_task_of_a_user_interface_stays_out_of_memory(backend: ScriptedBackend, asker: Asker):
    backend.reply(text("A title"))
    asked = "### Task:\nGenerate a concise title\n<chat_history>\nhello\n</chat_history>"
    assert asker.ask(asked).output_text == "A title"
    assert backend.requests[-1].body["messages"] == [{"role": "user", "content": asked}]


def test_a_read_only_turn_is_not_stored(backend: ScriptedBackend, asker: Asker):
    backend.reply(send("Hi."))
    response = asker.ask("Hi.", extra_headers={"x-memgpt-memory": "read"})
    assert response.model_dump()["store"] is False
    with pytest.raises(openai.BadRequestError) as refused:
        asker.ask("And?", previous_response_id=response.id)
    assert refused.value.code == "previous_response_not_found"


def test_items_are_referred_to(backend: ScriptedBackend, asker: Asker):
    backend.reply(
        call("send_message", {"message": "Look."}) + call("f", {"a": 1}, id="call_f"),
        send("Done."),
    )
    tools = [tool("f", a="integer")]
    first = asker.ask("Do it.", tools=tools)
    asked: list[Any] = [{"role": "user", "content": "Do it."}]
    asked += [{"type": "item_reference", "id": item.id} for item in first.output]
    asker.ask([*asked, output("call_f", "1")], tools=tools)
    called, *results = backend.requests[-1].body["messages"][-3:]
    assert [made["id"] for made in called["tool_calls"]][-1] == "call_f"
    assert results[-1] == {"role": "tool", "tool_call_id": "call_f", "content": "1"}
    with pytest.raises(openai.NotFoundError) as unknown:
        asker.ask([{"type": "item_reference", "id": "msg_" + "0" * 32}])
    assert unknown.value.param == "input"


def test_a_response_is_found_again(
    backend: ScriptedBackend, client: openai.OpenAI, model: str, asker: Asker
):
    tools: Any = [tool("f", a="integer")]
    backend.reply(
        thoughts("Hm.")
        + call("working_context_append", {"content": "x"}, id="call_m")
        + call("send_message", {"message": "Look."}, id="call_s")
        + call("f", {"a": 1}, id="call_f")
    )
    made = client.responses.create(model=model, input="Do it.", tools=tools)
    found = client.responses.retrieve(made.id)
    assert (found.id, found.status, found.created_at) == (made.id, "completed", made.created_at)
    by_id = {item.id: item.model_dump() for item in found.output}
    assert by_id == {item.id: item.model_dump() for item in made.output}
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_" + "0" * 32)
    stranger = client.with_options(api_key=f"{client.api_key}-other")
    with pytest.raises(openai.NotFoundError):
        stranger.responses.retrieve(made.id)


def test_items_of_a_stream_are_found_again(
    backend: ScriptedBackend, client: openai.OpenAI, model: str
):
    """A call without arguments is known to have none at its end; its place is the first."""
    tools: Any = [tool("now"), tool("weather", city="string")]
    backend.reply(call("now", "", id="call_n") + call("weather", {"city": "Oslo"}, id="call_w"))
    asked: Any = {"model": model, "input": "Hi.", "tools": tools}
    made = gathered(client.responses.create(**asked, stream=True))
    assert [each[1] for each in calls(made)] == ["now", "weather"]
    found = client.responses.retrieve(made.id)
    assert [(item.id, item.type) for item in found.output] == [
        (item.id, item.type) for item in made.output
    ]
    assert calls(found) == calls(made)


def test_what_cannot_be_done_with_a_response(
    backend: ScriptedBackend, client: openai.OpenAI, model: str
):
    backend.reply(send("Hi."))
    made = client.responses.create(model=model, input="Hi.")
    for ask in (
        lambda: client.responses.delete(made.id),
        lambda: client.responses.cancel(made.id),
        lambda: client.responses.input_items.list(made.id),
        lambda: [*client.responses.retrieve(made.id, stream=True)],
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            ask()
        assert refused.value.code == "unsupported_operation"


def test_custom_tools(backend: ScriptedBackend, asker: Asker):
    piece = {
        "index": 0,
        "id": "call_c",
        "type": "custom",
        "custom": {"name": "sql", "input": "SEL"},
    }
    more = {"index": 0, "custom": {"input": "ECT 1"}}
    backend.reply(_delta(piece) + _delta(more), send("One."))
    tools: Any = [{"type": "custom", "name": "sql", "description": "SQL"}]
    with openai.OpenAI(base_url=asker.base_url, api_key=asker.api_key) as client:
        stream = client.responses.create(model=asker.model, input="Run.", tools=tools, stream=True)
        response = gathered(stream)
    (made,) = response.output
    assert made.type == "custom_tool_call"
    assert (made.call_id, made.name, made.input) == ("call_c", "sql", "SELECT 1")
    given = {"type": "custom_tool_call_output", "call_id": "call_c", "output": "1"}
    asker.ask([given], tools=tools, previous_response_id=response.id)
    assert backend.requests[-1].body["messages"][-1]["content"] == "1"


def _delta(call: dict[str, Any]) -> Reply:
    return event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    parts = [part for part in response.text.split("\n\n") if "data: " in part]
    return [json.loads(part.split("data: ", 1)[1]) for part in parts]


def test_probabilities_come_with_the_text(backend: ScriptedBackend, asker: Asker):
    top = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1}
    told = {"content": [{**top, "top_logprobs": [top]}], "refusal": None}
    choice = {"index": 0, "delta": {"content": "Hi"}, "logprobs": told, "finish_reason": "stop"}
    backend.reply(event({"choices": [choice]}))
    with openai.OpenAI(base_url=asker.base_url, api_key=asker.api_key) as client:
        stream = client.responses.create(
            model=asker.model,
            input="Hi.",
            include=["message.output_text.logprobs"],
            top_logprobs=1,
            stream=True,
        )
        response = gathered(stream)
    (item,) = response.model_dump()["output"]
    assert item["content"][0]["logprobs"] == told["content"]
    assert backend.requests[-1].body["top_logprobs"] == 1


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "f"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
    ],
)
def test_a_call_that_is_asked_for_is_made(backend: ScriptedBackend, asker: Asker, choice: Any):
    backend.reply(call("f", {"a": 1}, id="call_f"))
    tools = [tool("f", a="integer"), tool("g")]
    response = asker.ask("Do it.", tools=tools, tool_choice=choice)
    assert calls(response) == [("call_f", "f", '{"a": 1}')]
