"""Limits, as a client of OpenAI's own package meets them."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import user
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import free_port
from tests.support.redis_server import RedisServer
from tests.support.replies import Gate, Usage, hang, text, wait

CONTENT = ("--reply-mode", "content")


def client(gateway: GatewayProcess, key: str, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=retries)


def ask(client: openai.OpenAI, words: str = "hello", **request: Any) -> str:
    told = client.chat.completions.create(model="m", messages=[user(words)], **request)  # type: ignore[list-item]
    return str(told.choices[0].message.content)


def ask_until_refused(client: openai.OpenAI) -> int:
    """How many requests were answered before one was refused."""
    for n in range(1000):
        try:
            ask(client, f"number {n}")
        except openai.RateLimitError:
            return n
    raise AssertionError("none was refused")


def metric(gateway: GatewayProcess, line: str) -> float:
    lines = httpx.get(f"{gateway.origin}/metrics").text.splitlines()
    (value,) = (shown.rsplit(" ", 1)[1] for shown in lines if shown.startswith(f"{line} "))
    return float(value)


def test_too_many_requests(backend: ScriptedBackend, start_gateway: StartGateway, api_key: str):
    gateway = start_gateway("--requests-per-minute", "2", *CONTENT)
    backend.script(lambda _: text("Yes.").but(headers={"x-ratelimit-limit-requests": "999"}))
    with client(gateway, api_key) as sam:
        first = sam.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "one"}]
        )
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"] == "30s"
        assert ask(sam, "two", user="somebody") == "Yes."
        with pytest.raises(openai.RateLimitError) as refused:
            ask(sam, "three", user="somebody else")
    assert refused.value.type == "requests"
    assert refused.value.code == "rate_limit_exceeded"
    headers = refused.value.response.headers
    assert 0 < int(headers["retry-after-ms"]) <= 30_000
    assert 0 < int(headers["retry-after"]) <= 30
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert len(backend.requests) == 2
    with client(gateway, f"{api_key}-other") as kim:
        assert ask(kim) == "Yes."
    assert metric(gateway, "memgpt_admitted_requests_total") == 3
    assert metric(gateway, 'memgpt_limited_requests_total{limit="requests"}') == 1
    told = httpx.get(f"{gateway.origin}/metrics").text
    assert api_key not in told


def test_the_package_retries_by_itself(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    gateway = start_gateway("--requests-per-minute", "60", *CONTENT)
    backend.script(lambda _: text("Yes."))
    with client(gateway, api_key, retries=2) as sam, client(gateway, api_key) as impatient:
        assert ask_until_refused(impatient) >= 60
        assert ask(sam, "patience") == "Yes."
    asked = [recorded.body["messages"][-1]["content"] for recorded in backend.requests]
    assert asked.count("patience") == 1


def test_tokens_are_counted_when_they_are_known(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    gateway = start_gateway("--tokens-per-minute", "1000", *CONTENT)
    backend.script(lambda _: text("Yes.").but(usage=Usage(prompt=2900, completion=100)))
    with client(gateway, api_key) as sam:
        first = sam.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "one"}]
        )
        assert first.headers["x-ratelimit-remaining-tokens"] == "1000"
        with pytest.raises(openai.RateLimitError) as refused:
            ask(sam, "two")
    assert refused.value.type == "tokens"
    assert 110_000 < int(refused.value.response.headers["retry-after-ms"]) <= 120_060
    assert metric(gateway, "memgpt_limited_tokens_total") == 3000


def test_who_leaves_amid_a_reply_has_used_its_prompt(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    gateway = start_gateway("--tokens-per-minute", "400", *CONTENT)
    short = text("Yes.").but(usage=Usage(prompt=1, completion=1))
    backend.reply(short, text("Once upon ") + wait(Gate()))
    with client(gateway, api_key) as sam:
        ask(sam)  # of a model that is not known yet, the first answer is held back
        stream = sam.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "tell me " * 300}], stream=True
        )
        next(iter(stream))
        stream.close()
        backend.requests[1].wait_disconnected()
        backend.script(lambda _: short)
        assert ask_until_refused(sam) < 10


def test_who_leaves_before_a_whole_answer_has_used_its_prompt(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    """The backend was at work on it, although it had not told anything yet."""
    gateway = start_gateway("--tokens-per-minute", "400", *CONTENT)
    short = text("Yes.").but(usage=Usage(prompt=1, completion=1))
    backend.reply(short, hang())
    with client(gateway, api_key) as sam:
        ask(sam)
        asked: Any = [{"role": "user", "content": "tell me " * 300}]
        with pytest.raises(openai.APITimeoutError):
            sam.chat.completions.create(model="m", messages=asked, timeout=0.5)
        backend.requests[1].wait_disconnected()
        backend.script(lambda _: short)
        assert ask_until_refused(sam) < 10


def test_what_is_passed_through_counts_as_a_request(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    gateway = start_gateway("--requests-per-minute", "3", *CONTENT)
    backend.script(lambda _: text("Yes."))
    with client(gateway, api_key) as sam:
        assert [model.id for model in sam.models.list()] == ["scripted"]
        assert ask(sam, extra_headers={"X-MemGPT-Memory": "off"}) == "Yes."
        assert ask(sam) == "Yes."
        with pytest.raises(openai.RateLimitError) as refused:
            sam.models.list()
    assert refused.value.type == "requests"


@pytest.mark.redis
def test_replicas_share_a_keys_limit(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    redis_server: RedisServer,
    api_key: str,
):
    secret = {"MEMGPT_NAMESPACE_SECRET": "a secret of the whole fleet"}
    options = ("--requests-per-minute", "12", "--redis-url", redis_server.url, *CONTENT)
    replicas = [start_gateway(*options, env=secret) for _ in range(2)]
    backend.script(lambda _: text("Yes."))
    told: list[str] = []

    def converse(gateway: GatewayProcess) -> None:
        with client(gateway, api_key) as sam:
            for n in range(10):
                try:
                    told.append(ask(sam, f"number {n}"))
                except openai.RateLimitError as error:
                    told.append(str(error.type))

    threads = [threading.Thread(target=converse, args=[each]) for each in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(set(told)) == ["Yes.", "requests"]
    assert 12 <= told.count("Yes.") <= 14, "as many as refilled in the seconds that it took"
    assert len(told) == 20
    assert [metric(gateway, "memgpt_redis_away") for gateway in replicas] == [0, 0]


def test_without_redis_requests_are_answered_and_limited_all_the_same(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    nobody = f"redis://127.0.0.1:{free_port()}"
    gateway = start_gateway("--requests-per-minute", "2", "--redis-url", nobody, *CONTENT)
    backend.script(lambda _: text("Yes."))
    with client(gateway, api_key) as sam:
        assert ask_until_refused(sam) == 2
    assert metric(gateway, "memgpt_redis_away") == 1
