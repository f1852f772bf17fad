"""Requests that are wrong: each a clear error in OpenAI's shape, never one of ours."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, data_of, error_of, offered, send, user
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import text

HELLO = [user("hello")]


def post(base_url: str, api_key: str, body: bytes) -> httpx.Response:
    headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
    return httpx.post(f"{base_url}/chat/completions", content=body, headers=headers, timeout=30)


NO_JSON = [
    b"",
    b"{",
    b"hello",
    b"\xff\xfe\x00",
    b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}',
    b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"model": "m", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"a":' * 100_000,
    b"[]",
    b"null",
    b'"text"',
    b"17",
    b'{"model": "m", "messages": NaN}',
]


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:40]))
def test_what_is_no_json_object_is_refused(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, body: bytes
):
    response = post(gateway.base_url, api_key, body)
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"
    assert backend.requests == []


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": {"role": "user"}}, "messages"),
    ({"messages": ["hello"]}, "messages[0]"),
    ({"messages": [{}]}, "messages[0].role"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    ({"messages": [user("x"), {"role": "tool", "content": "y"}]}, "messages[1].tool_call_id"),
    (
        {"messages": [user("x"), {"role": "tool", "content": "y", "tool_call_id": "c"}]},
        "messages[1]",
    ),
    (
        {"messages": [user("x"), {"role": "assistant", "tool_calls": {}}]},
        "messages[1].tool_calls",
    ),
    (
        {"messages": [user("x"), {"role": "assistant", "tool_calls": [{}]}]},
        "messages[1].tool_calls[0]",
    ),
    ({"model": None}, "model"),
    ({"model": ""}, "model"),
    ({"model": 4}, "model"),
    ({"model": ["gpt"]}, "model"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream": True, "stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"tools": {}}, "tools"),
    ({"tools": ["get_weather"]}, "tools[0]"),
    ({"tools": [{"type": []}]}, "tools[0].type"),
    ({"tools": [{"type": {}, "function": {"name": "f"}}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": 1}}]}, "tools[0].function.name"),
    ({"user": 7}, "user"),
    ({"user": {}}, "user"),
    ({"stop": 7}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stop": ["x"] * 129}, "stop"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_completion_tokens": "9"}, "max_completion_tokens"),
    ({"n": "two"}, "n"),
    ({"response_format": "json"}, "response_format"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=str)
def test_a_wrong_field_is_named(
    backend: ScriptedBackend,
    gateway: GatewayProcess,
    api_key: str,
    model: str,
    fields: dict[str, Any],
    param: str,
):
    request = {"model": model, "messages": HELLO, **fields}
    body = json.dumps({name: value for name, value in request.items() if value is not None})
    response = post(gateway.base_url, api_key, body.encode())
    assert response.status_code == 400
    told = error_of(response)
    assert (told["type"], told["param"]) == ("invalid_request_error", param)
    assert backend.requests == []


def test_the_sdk_raises_its_own_bad_request(backend: ScriptedBackend, anyone: Person):
    with pytest.raises(openai.BadRequestError) as refused:
        anyone.ask([])
    assert refused.value.param == "messages"


def test_a_body_too_large_is_refused(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway(env={"MEMGPT_MAX_REQUEST_MIB": "1"})
    backend.reply(send("Fine."))
    person = Person(gateway.base_url, api_key, model)
    large = json.dumps({"model": model, "messages": [user("x" * 2**20)]}).encode()
    response = post(gateway.base_url, api_key, large)
    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")
    chunked = httpx.post(
        f"{gateway.base_url}/chat/completions",
        content=(large[at : at + 65536] for at in range(0, len(large), 65536)),
        headers={"authorization": f"Bearer {api_key}"},
    )
    assert (chunked.status_code, error_of(chunked)["code"]) == (413, "request_too_large")
    assert person.say("small").text == "Fine."


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_a_compressed_body_is_refused_by_what_it_is(
    path: str, backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str
):
    asked = {"model": model, "messages": [user("Hello")], "input": "Hello"}
    key = {"authorization": f"Bearer {api_key}"}
    response = httpx.post(
        f"{gateway.base_url}/{path}",
        content=gzip.compress(json.dumps(asked).encode()),
        headers={**key, "content-encoding": "gzip"},
    )
    error = error_of(response)
    assert (response.status_code, error["code"]) == (415, "unsupported_encoding")
    assert (error["type"], error["param"]) == ("invalid_request_error", "Content-Encoding")
    assert backend.requests == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [("chat/completions/", {"messages": HELLO}), ("responses/", {"input": "hello"})],
)
def test_a_slash_at_the_end_of_a_path_loses_no_memory(
    path: str,
    asked: dict[str, Any],
    backend: ScriptedBackend,
    gateway: GatewayProcess,
    api_key: str,
    model: str,
):
    backend.reply(send("Fine."))
    response = httpx.post(
        f"{gateway.base_url}/{path}",
        json={"model": model, **asked},
        headers={"authorization": f"Bearer {api_key}"},
    )
    assert response.status_code == 200
    (request,) = backend.requests
    assert "working_context_append" in offered(request)


def test_a_body_that_says_it_is_not_compressed_is_read(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str
):
    backend.reply(send("Fine."))
    response = httpx.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": model, "messages": [user("Hello")]},
        headers={"authorization": f"Bearer {api_key}", "content-encoding": "Identity"},
    )
    assert response.json()["choices"][0]["message"]["content"] == "Fine."


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=5,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.just("call_1") | JUNK,
            "type": st.just("function") | JUNK,
            "function": JUNK
            | st.fixed_dictionaries({}, optional={"name": st.just("f") | JUNK, "arguments": JUNK}),
        },
    ),
    max_size=2,
)
PARTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "image_url", "input_audio"]) | JUNK},
        optional={"text": st.just("hi") | JUNK, "image_url": JUNK},
    ),
    max_size=2,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": st.just("hello") | PARTS | JUNK,
        "name": st.just("ann") | JUNK,
        "tool_calls": CALLS | JUNK,
        "tool_call_id": st.just("call_1") | JUNK,
    },
)
TOOL = st.fixed_dictionaries(
    {"type": st.just("function") | JUNK},
    optional={
        "function": JUNK
        | st.fixed_dictionaries({"name": st.sampled_from(["f", "send_message"]) | JUNK})
    },
)
REQUEST = st.fixed_dictionaries(
    {"model": st.just("fuzzed") | JUNK, "messages": st.lists(MESSAGE | JUNK, max_size=4) | JUNK},
    optional={
        "stream": st.booleans() | JUNK,
        "stream_options": st.just({"include_usage": True}) | JUNK,
        "tools": st.lists(TOOL | JUNK, max_size=2) | JUNK,
        "tool_choice": st.sampled_from(["none", "auto", "required"]) | JUNK,
        "stop": st.just(["x"]) | JUNK,
        "user": st.just("ann") | JUNK,
        "n": st.integers(1, 2) | JUNK,
        "logprobs": JUNK,
        "max_tokens": st.integers() | JUNK,
        "response_format": st.just({"type": "json_object"}) | JUNK,
        "functions": JUNK,
    },
)


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=REQUEST)
def test_no_request_breaks_the_gateway(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, request: dict[str, Any]
):
    backend.script(lambda _: text("fine"))
    logged = len(gateway.log())
    response = post(gateway.base_url, api_key, json.dumps(request).encode())
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        assert error_of(response)["type"] == "invalid_request_error"
    elif response.headers["content-type"].startswith("text/event-stream"):
        assert data_of(response.content)[-1] == "[DONE]"
    else:
        assert response.json()["object"] == "chat.completion"
    assert "Traceback" not in gateway.log()[logged:]
