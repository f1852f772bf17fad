"""The demo backend over a real socket, by the `openai` package and by raw requests."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from memgpt_proxy.demo.completion import pieces
from memgpt_proxy.demo.server import create_app
from tests.demo.conversation import MEMORY_TOOLS, TODAY, system, tool, user

DEADLINE = 10.0
CAKE: list[Any] = [system(), user(TODAY), user("fun my bf james baked me a birthday cake")]
FACTS = {"Birthday is February 7", "Boyfriend named James"}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The address of the app, served by uvicorn on a free loopback port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(DEADLINE)
    listener.close()
    assert not thread.is_alive()


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=base_url, api_key="none", max_retries=0, timeout=DEADLINE
    ) as client:
        yield client


def post(base_url: str, body: bytes) -> httpx.Response:
    return httpx.post(f"{base_url}/chat/completions", content=body, timeout=DEADLINE)


def test_models(client: openai.OpenAI):
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == ("demo", "memgpt-proxy")
    assert client.models.retrieve("demo").model_dump()["context_window"] == 8192
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("gpt-4")
    assert missing.value.code == "model_not_found"


def test_plain_content(client: openai.OpenAI):
    said = client.chat.completions.create(model="demo", messages=[user("my name is Sam")])  # type: ignore[list-item]
    (choice,) = said.choices
    assert said.id.startswith("chatcmpl-")
    assert choice.finish_reason == "stop"
    assert choice.message.content
    assert choice.message.tool_calls is None
    assert said.usage
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens
    assert said.usage.completion_tokens == len(pieces(choice.message.content))


def test_function_calls(client: openai.OpenAI):
    tools: list[Any] = MEMORY_TOOLS
    said = client.chat.completions.create(model="demo", messages=CAKE, tools=tools)
    calls = said.choices[0].message.tool_calls or []
    assert said.choices[0].finish_reason == "tool_calls"
    assert said.choices[0].message.content
    assert all(call.id.startswith("call_") for call in calls)
    assert len({call.id for call in calls}) == len(calls)
    arguments = [json.loads(call.function.arguments) for call in calls if call.type == "function"]
    assert {given["content"] for given in arguments} == FACTS


def test_a_stream_says_the_same_in_small_pieces(client: openai.OpenAI):
    tools: list[Any] = MEMORY_TOOLS
    chunks = list(
        client.chat.completions.create(
            model="demo",
            messages=CAKE,
            tools=tools,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    whole = client.chat.completions.create(model="demo", messages=CAKE, tools=tools)
    *said, usage = chunks
    deltas = [chunk.choices[0].delta for chunk in said]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    arguments = {0: "", 1: ""}
    for part in (call for delta in deltas for call in delta.tool_calls or []):
        given = (part.function.arguments if part.function else None) or ""
        assert len(given) < 20
        arguments[part.index] += given
    assert {json.loads(text)["content"] for text in arguments.values()} == FACTS
    assert [c.choices[0].finish_reason for c in said[-2:]] == [None, "tool_calls"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert usage.choices == []
    assert usage.usage == whole.usage


def test_usage_is_streamed_only_where_it_is_asked_for(client: openai.OpenAI):
    messages: list[Any] = [user("hello")]
    chunks = list(client.chat.completions.create(model="demo", messages=messages, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


async def test_the_async_client(base_url: str):
    messages: list[Any] = [user("hello")]
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", timeout=DEADLINE) as client:
        stream = await client.chat.completions.create(
            model="demo", messages=messages, stream=True, n=2
        )
        said = ["", ""]
        async for chunk in stream:
            for choice in chunk.choices:
                said[choice.index] += choice.delta.content or ""
    assert said == ["Hello! How was your day today?"] * 2


def test_the_wire_is_server_sent_events_with_a_done_marker(base_url: str):
    body = {"model": "demo", "messages": [user("hello")], "stream": True}
    answer = post(base_url, json.dumps(body).encode())
    assert answer.headers["content-type"].startswith("text/event-stream")
    data = [line for line in answer.text.splitlines() if line]
    assert all(line.startswith("data: ") for line in data)
    assert data[-1] == "data: [DONE]"


def test_tool_choice(client: openai.OpenAI):
    weather = tool("get_weather", "Current weather", city={"type": "string"})
    tools: list[Any] = [*MEMORY_TOOLS, weather]
    messages: list[Any] = [user("hello from Rome")]
    forced = client.chat.completions.create(
        model="demo",
        messages=messages,
        tools=tools,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    (call,) = forced.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Rome"}
    none = client.chat.completions.create(
        model="demo", messages=messages, tools=tools, tool_choice="none"
    )
    assert none.choices[0].message.tool_calls is None


GOOD = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "wizard", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": 7}]}, "messages[0].tool_calls"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_bad_fields_are_named(base_url: str, change: dict[str, Any], param: str):
    answer = post(base_url, json.dumps({**GOOD, **change}).encode())
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"\xed\xa0\x80"', b"[" * 100_000])
def test_bad_bodies_are_refused(base_url: str, body: bytes):
    answer = post(base_url, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_model_is_not_found(client: openai.OpenAI):
    messages: list[Any] = [user("hello")]
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4", messages=messages)
    assert missing.value.code == "model_not_found"


def test_other_paths_and_methods_are_refused_in_the_same_shape(base_url: str):
    for answer in (
        httpx.get(f"{base_url}/chat/completions", timeout=DEADLINE),
        httpx.post(f"{base_url}/embeddings", timeout=DEADLINE),
    ):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]["message"]


async def test_what_it_does_not_have_is_told_of_by_the_path_that_a_client_knows():
    gateway = httpx.ASGITransport(Starlette(routes=[Mount("/demo", app=create_app())]))
    async with httpx.AsyncClient(transport=gateway, base_url="http://gateway") as http:
        answer = await http.post("/demo/v1/embeddings", json={"model": "demo", "input": "tea"})
    assert answer.status_code == 404
    told = answer.json()["error"]["message"]
    assert told == "Not Found: the demo backend has no POST /v1/embeddings"


def test_lone_surrogates_do_no_harm(base_url: str):
    said = b'{"model":"demo","messages":[{"role":"user","content":"did i mention x\\ud800?"}]}'
    content = "I found nothing about x."
    assert post(base_url, said).json()["choices"][0]["message"]["content"] == content
    assert post(base_url, said.replace(b'"model"', b'"stream":true,"model"')).status_code == 200
