"""A real llama.cpp server as the backend: what it says is nonsense, the wire is real.

Whatever it writes, a client gets a reply or a clear error, and memory holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from memgpt_proxy.agent.functions import FUNCTIONS
from tests.e2e.chatting import WAYS, Answer, Person, assistant, data_of, raw, tool, user
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.llama import LlamaServer
from tests.support.replies import call, text

pytestmark = pytest.mark.llama

LIMITS: dict[str, Any] = {"max_tokens": 40, "seed": 7}


@pytest.fixture(scope="module")
def in_front_of_llama(
    llama_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("llama-gateway"), llama_backend, "--max-steps", "3"
    ) as gateway:
        yield gateway


@pytest.fixture(params=WAYS.values(), ids=[*WAYS])
def somebody(
    request: pytest.FixtureRequest, in_front_of_llama: GatewayProcess, api_key: str
) -> Person:
    return Person(in_front_of_llama.base_url, api_key, "tiny", request.param, dict(LIMITS))


def asked(person: Person, words: str, **options: Any) -> Answer | None:
    """The reply; None where the model came to none, which has to be said clearly."""
    try:
        answer = person.say(words, **options)
    except openai.APIError as failure:
        if failure.code != "no_reply":
            raise
        person.said.pop()
        return None
    assert answer.text
    assert answer.finish_reason in ("stop", "length")
    return answer


def test_models_are_listed(in_front_of_llama: GatewayProcess, api_key: str):
    with openai.OpenAI(base_url=in_front_of_llama.base_url, api_key=api_key) as client:
        assert "tiny" in [model.id for model in client.models.list()]


def test_it_answers_or_says_why_not(somebody: Person):
    answers = [asked(somebody, words) for words in ("Hello!", "How are you?", "Goodbye.")]
    for answer in filter(None, answers):
        assert answer.calls == []
        for hidden in (*FUNCTIONS, "System Alert", "request_heartbeat", "<tool_call>"):
            assert hidden not in answer.text


def test_usage_is_told(somebody: Person):
    streams = somebody.way.__name__.startswith("streamed")
    options = {"stream_options": {"include_usage": True}} if streams else {}
    answers = (asked(somebody, f"Count to {n}.", **options) for n in range(5))
    answer = next((answer for answer in answers if answer), None)
    if answer is None:
        pytest.skip("the model never came to a reply")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 100
    assert answer.usage.completion_tokens > 0
    total = answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.total_tokens == total


def test_a_stream_ends_as_it_must(in_front_of_llama: GatewayProcess, api_key: str):
    for number in range(5):
        response = raw(
            in_front_of_llama.base_url,
            api_key,
            model="tiny",
            messages=[user(f"Say {number}.")],
            stream=True,
            **LIMITS,
        )
        if response.status_code == 200:
            *_, last = data_of(response.content)
            assert last == "[DONE]" or last["error"]["code"] == "no_reply"
        else:
            assert (response.status_code, response.json()["error"]["code"]) == (502, "no_reply")


def test_a_forced_tool_is_written_by_the_real_grammar(somebody: Person):
    options: dict[str, Any] = {"tools": [tool("get_weather", city="string")], "max_tokens": 200}
    answer = somebody.ask([user("Weather?")], **{**options, "tool_choice": "required", "seed": 3})
    assert answer.finish_reason in ("tool_calls", "length")
    assert {name for _, name, _ in answer.calls} <= {"get_weather"}


def test_a_schema_is_kept_by_the_real_grammar(somebody: Person):
    """Whatever it does with the memory functions beside it, or without them if it takes none."""
    colour = {"type": "string", "enum": ["red", "blue"]}
    schema = {"type": "object", "properties": {"colour": colour}, "required": ["colour"]}
    schema |= {"additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema, "strict": True}}
    answer = somebody.ask([user("Which?")], response_format=form, max_tokens=200)
    assert json.loads(answer.text)["colour"] in ("red", "blue")


def test_what_it_refuses_is_its_own_error(in_front_of_llama: GatewayProcess, api_key: str):
    with (
        openai.OpenAI(
            base_url=in_front_of_llama.base_url, api_key=api_key, max_retries=0
        ) as client,
        pytest.raises(openai.BadRequestError),
    ):
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hello"}],
            extra_body={"grammar": "root ::= ("},
        )


def test_other_endpoints_are_its_own(
    in_front_of_llama: GatewayProcess, llama_backend: str, api_key: str
):
    headers = {"authorization": f"Bearer {api_key}"}
    body = {"prompt": "hello", "max_tokens": 4, "seed": 1, "temperature": 0}
    ours, theirs = (
        httpx.post(f"{url}/completions", json=body, headers=headers, timeout=30).json()
        for url in (in_front_of_llama.base_url, llama_backend)
    )
    assert ours["choices"][0]["text"] == theirs["choices"][0]["text"]


def test_what_was_told_to_it_is_remembered(
    in_front_of_llama: GatewayProcess,
    llama_backend: str,
    backend: ScriptedBackend,
    api_key: str,
    tmp_path: Path,
):
    """The same memory behind a model that can be asked what it sees."""
    gateway = GatewayProcess(tmp_path, llama_backend, "--max-steps", "3")
    with gateway:
        person = Person(gateway.base_url, api_key, "tiny", options=dict(LIMITS))
        asked(person, "My locker holds a zircon.")
    successor = GatewayProcess(tmp_path, backend.base_url)
    with successor:
        backend.reply(call("recall_storage_search", {"query": "zircon"}), text("A zircon."))
        person = Person(successor.base_url, api_key, "scripted")
        assert person.say("What does my locker hold?").text == "A zircon."
    found = backend.requests[1].body["messages"][-1]["content"]
    assert '"My locker holds a zircon."' in found


def test_a_prompt_longer_than_its_window_is_healed(
    llama_binary: Path, tiny_model: Path, api_key: str, tmp_path: Path
):
    """The operator is wrong about the window; the server's refusal tells."""
    history = [say("tea milk sugar " * 40) for _ in range(15) for say in (user, assistant)]
    request = {"model": "tiny", "messages": [*history, user("hi")], **LIMITS}
    with LlamaServer(llama_binary, tiny_model, tmp_path, window=8192, slots=1) as llama:
        refused = raw(llama.base_url, api_key, **request)
        assert refused.json()["error"]["type"] == "exceed_context_size_error"
        options = ("--context-window", "100000", "--max-steps", "3")
        with GatewayProcess(tmp_path, llama.base_url, *options) as gateway:
            answer = raw(gateway.base_url, api_key, **request)
            assert answer.status_code == 200 or answer.json()["error"]["code"] == "no_reply"
