"""Backends that fail and clients that leave: a clear error each, and no message lost."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from typing import Any, BinaryIO

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import (
    Person,
    call_in_pieces,
    data_of,
    error_of,
    raw,
    results,
    send,
    user,
)
from tests.e2e.chatting import streamed as streamed_way
from tests.e2e.chatting import whole as whole_way
from tests.e2e.raw_server import raw_server, read_request, respond
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import free_port
from tests.support.replies import Gate, Reply, call, error, event, hang, text, wait

HELLO = [user("hello")]


def recalled(backend: ScriptedBackend, person: Person, query: str) -> list[str]:
    backend.reply(call("recall_storage_search", {"query": query}), send("I have looked."))
    person.anew().say("Look it up.")
    (result,) = results(backend.requests[-1])
    return re.findall(r'\[\d\d/\d\d/\d{4}\] "([^"]*)"', result)


# The backend's own errors

ODD_BODY = b'{ "error":\t{"message": "\xc3\xa4h", "type":"x", "param":null, "code": 1e0}}\n'


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503, 529])
@pytest.mark.parametrize("stream", [False, True])
def test_the_backends_error_comes_through_byte_for_byte(
    backend: ScriptedBackend, person: Person, status: int, stream: bool
):
    about = {"retry-after": "7", "x-request-id": "req_9", "x-should-retry": "false"}
    backend.reply(error(status, ODD_BODY, about))
    response = raw(
        person.base_url, person.api_key, model=person.model, messages=HELLO, stream=stream
    )
    assert (response.status_code, response.content) == (status, ODD_BODY)
    assert {name: response.headers.get(name) for name in about} == about
    assert response.headers["content-type"] == "application/json"


def test_an_error_page_comes_through_as_it_is(backend: ScriptedBackend, person: Person):
    page = b"<html>Bad gateway</html>"
    backend.reply(error(502, page, {"content-type": "text/html"}))
    response = raw(person.base_url, person.api_key, model=person.model, messages=HELLO)
    assert (response.status_code, response.content) == (502, page)
    assert response.headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_the_sdk_raises_what_the_backend_meant(
    backend: ScriptedBackend, anyone: Person, status: int, raised: type[openai.APIStatusError]
):
    told = {"error": {"message": "No such model", "type": "t", "param": "model", "code": "nope"}}
    backend.reply(error(status, told))
    with pytest.raises(raised) as failure:
        anyone.say("hello")
    assert failure.value.body == told["error"]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_nothing_is_stored_before_the_backend_accepts(
    backend: ScriptedBackend, person: Person, status: int
):
    backend.reply(error(status))
    with pytest.raises(openai.APIStatusError):
        person.say("a topaz")
    assert recalled(backend, person, "topaz") == []


def test_the_sdks_retry_is_answered_and_stored_once(backend: ScriptedBackend, person: Person):
    backend.reply(error(429, headers={"retry-after-ms": "1"}), send("Now."))
    with openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=2) as client:
        answer = client.chat.completions.create(
            model=person.model, messages=[{"role": "user", "content": "a beryl"}]
        )
    assert answer.choices[0].message.content == "Now."
    assert recalled(backend, person, "beryl") == ["a beryl"]


def test_an_error_in_a_later_step_is_told(backend: ScriptedBackend, person: Person):
    backend.reply(call("archival_storage_search", {"query": "x"}), error(429, ODD_BODY))
    response = raw(person.base_url, person.api_key, model=person.model, messages=HELLO)
    assert (response.status_code, response.content) == (429, ODD_BODY)


@pytest.mark.parametrize("page", [b"", b"<html>\n<h1>Bad gateway</h1></html>", b"[1]", b'"no"'])
def test_an_error_page_after_the_first_word_is_told_as_json(
    backend: ScriptedBackend, person: Person, page: bytes
):
    """Clients parse what an event says."""
    backend.reply(send("One moment.", request_heartbeat=True), error(502, page))
    request = {"model": person.model, "messages": HELLO, "stream": True}
    *_, last = data_of(raw(person.base_url, person.api_key, **request).content)
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "backend_refused")
    assert "502" in last["error"]["message"]


def test_an_error_after_the_first_word_is_the_backends_own(
    backend: ScriptedBackend, person: Person
):
    backend.reply(send("One moment.", request_heartbeat=True), error(429, ODD_BODY))
    request = {"model": person.model, "messages": HELLO, "stream": True}
    *_, last = data_of(raw(person.base_url, person.api_key, **request).content)
    assert last == json.loads(ODD_BODY)


# A backend that cannot be reached, breaks off or is silent


def test_a_backend_that_is_not_there(start_gateway: StartGateway, api_key: str, model: str):
    gateway = start_gateway(backend_url=f"http://127.0.0.1:{free_port()}/v1")
    for stream in (False, True):
        response = raw(gateway.base_url, api_key, model=model, messages=HELLO, stream=stream)
        assert (response.status_code, error_of(response)["code"]) == (502, "backend_unreachable")
    models = httpx.get(f"{gateway.base_url}/models", headers={"authorization": f"Bearer {api_key}"})
    assert (models.status_code, error_of(models)["code"]) == (502, "backend_unreachable")
    assert httpx.get(f"{gateway.origin}/readyz").status_code == 200


def closes(reader: BinaryIO, writer: BinaryIO) -> None:
    """Reads a request and closes the connection without a word."""
    read_request(reader)


def test_a_backend_that_closes_without_an_answer(
    start_gateway: StartGateway, api_key: str, model: str
):
    with raw_server(closes) as url:
        gateway = start_gateway(backend_url=url)
        response = raw(gateway.base_url, api_key, model=model, messages=HELLO)
    assert (response.status_code, error_of(response)["code"]) == (502, "backend_unreachable")


def test_a_stale_connection_is_replaced_unseen(
    start_gateway: StartGateway, api_key: str, model: str
):
    """A backend may close a kept connection just as the next request is on its way."""
    served: list[str] = []
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hi."},
        "finish_reason": "stop",
    }
    completion = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    answer = json.dumps({**completion, "choices": [choice]}).encode()

    def once(reader: BinaryIO, writer: BinaryIO) -> None:
        """Answers chat requests but lets the connection's second one fall."""
        chats = 0
        while first := read_request(reader):
            served.append(first.split()[0])
            chats += first.startswith("POST")
            if chats > 1:
                return
            respond(writer, answer if first.startswith("POST") else b"{}")

    with raw_server(once) as url:
        gateway = start_gateway(backend_url=url)
        person = Person(gateway.base_url, api_key, model)
        assert [person.say("one").text, person.say("two").text] == ["Hi.", "Hi."]
    assert served.count("POST") == 3


GATHERED = {"whole": {}, "gathered": {"max_tokens": 500}}
"""Requests for whole answers: one that the backend answers whole, one with a stream."""


@pytest.mark.parametrize("options", GATHERED.values(), ids=[*GATHERED])
@pytest.mark.parametrize("events", [0, 1, 2, 5])
def test_a_backend_that_dies_ends_the_request_with_an_error(
    backend: ScriptedBackend, person: Person, events: int, options: dict[str, Any]
):
    backend.reply(send("Hello there, my friend.").die_after(events=events))
    response = raw(person.base_url, person.api_key, model=person.model, messages=HELLO, **options)
    assert (response.status_code, error_of(response)["code"]) == (502, "backend_broken")


def test_a_backend_that_dies_in_its_stream_ends_ours_with_an_error(
    backend: ScriptedBackend, person: Person
):
    reply = send("Hello there, my friend. " * 3).die_after(events=9)
    backend.reply(reply, reply)
    request: dict[str, Any] = {"model": person.model, "messages": [user("an opal")]}
    response = raw(person.base_url, person.api_key, **request, stream=True)
    *chunks, failure = data_of(response.content)
    assert response.status_code == 200
    assert "Hello" in "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
    assert set(failure) == {"error"}
    assert failure["error"]["code"] == "backend_broken"
    with (
        openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client,
        pytest.raises(openai.APIError, match="broke off"),
    ):
        list(client.chat.completions.create(**request, stream=True))


def test_what_was_said_to_a_backend_that_died_is_kept(backend: ScriptedBackend, person: Person):
    backend.reply(send("Hello there, my friend. " * 3).die_after(events=9))
    request: dict[str, Any] = {"model": person.model, "messages": [user("an opal")]}
    raw(person.base_url, person.api_key, **request, stream=True)
    assert "an opal" in recalled(backend, person, "opal")
    backend.reply(send("Hello again."))
    assert person.ask([user("an opal")]).text == "Hello again."
    assert recalled(backend, person, "opal").count("an opal") == 1


def test_a_retry_is_told_the_day_once(backend: ScriptedBackend, person: Person):
    backend.reply(send("Hello there, my friend.").die_after(events=9), send("Hello again."))
    with pytest.raises(openai.InternalServerError):
        person.ask(HELLO)
    person.ask(HELLO)
    first, second = (request.body["messages"][1:] for request in backend.requests)
    assert first == second


def test_a_backend_that_stays_after_its_last_word_is_left(backend: ScriptedBackend, person: Person):
    backend.reply(send("Hi.") + event("[DONE]") + hang())
    assert person.ask(HELLO, max_tokens=50).text == "Hi."
    backend.requests[0].wait_disconnected()


@pytest.mark.parametrize("options", GATHERED.values(), ids=[*GATHERED])
def test_an_error_in_place_of_an_answer_is_told(
    backend: ScriptedBackend, person: Person, options: dict[str, Any]
):
    backend.reply(event({"error": {"message": "The GPU is on fire."}}))
    response = raw(person.base_url, person.api_key, model=person.model, messages=HELLO, **options)
    assert response.status_code == 502
    assert "The GPU is on fire." in error_of(response)["message"]


@pytest.mark.parametrize("where", ["choice", "chunk", "nowhere"])
@pytest.mark.parametrize("said", [text(""), text("So, the answ"), call("send_message", '{"messa')])
@pytest.mark.parametrize("options", GATHERED.values(), ids=[*GATHERED])
def test_an_answer_that_ends_in_an_error_is_none(
    backend: ScriptedBackend, person: Person, options: dict[str, Any], said: Reply, where: str
):
    """OpenRouter's answers, where the server that it has asked fails amid one."""
    failed: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}
    if where != "nowhere":
        place = failed["choices"][0] if where == "choice" else failed
        place["error"] = {"code": 502, "message": "The GPU is on fire."}
    backend.reply(said + event(failed) + event("[DONE]"))
    response = raw(person.base_url, person.api_key, model=person.model, messages=HELLO, **options)
    assert (response.status_code, error_of(response)["code"]) == (502, "backend_broken")
    assert ("on fire" in error_of(response)["message"]) is (where != "nowhere")
    assert len(backend.requests) == 1


@pytest.mark.parametrize("body", [b"data: {not json}\n\n", b"data: 17\n\n"])
def test_a_stream_of_nonsense_is_an_error(backend: ScriptedBackend, person: Person, body: bytes):
    backend.reply(Reply(body=body, headers={"content-type": "text/event-stream"}))
    response = raw(person.base_url, person.api_key, model=person.model, messages=HELLO)
    assert (response.status_code, error_of(response)["code"]) == (502, "backend_broken")


@pytest.mark.parametrize("stream", [False, True])
def test_a_silent_backend_is_given_up(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str, stream: bool
):
    gateway = start_gateway("--idle-timeout-seconds", "0.3")
    backend.reply(hang())
    response = raw(gateway.base_url, api_key, model=model, messages=HELLO, stream=stream)
    assert (response.status_code, error_of(response)["code"]) == (504, "backend_timeout")
    backend.requests[0].wait_disconnected()


def test_a_backend_that_falls_silent_is_given_up(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--idle-timeout-seconds", "0.3")
    backend.reply(call_in_pieces("send_message", '{"message": "Hel') + hang())
    response = raw(gateway.base_url, api_key, model=model, messages=HELLO, stream=True)
    *_, failure = data_of(response.content)
    assert failure["error"]["code"] == "backend_timeout"
    backend.requests[0].wait_disconnected()


# A client that leaves


def leave(
    gateway: GatewayProcess, api_key: str, until: Callable[[socket.socket], None], **request: Any
):
    """Send a request by hand and close the connection once ``until`` returns."""
    body = json.dumps(request).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {api_key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(head.encode() + body)
        until(client)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_first_byte_cancels(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str, stream: bool
):
    backend.reply(hang())
    leave(
        gateway,
        api_key,
        lambda _: assert_arrived(backend),
        model=model,
        messages=HELLO,
        stream=stream,
    )
    backend.requests[0].wait_disconnected()


def assert_arrived(backend: ScriptedBackend) -> None:
    backend.wait_for_requests(1)


def read_until(text: bytes) -> Callable[[socket.socket], None]:
    def read(client: socket.socket) -> None:
        seen = b""
        while text not in seen:
            data = client.recv(65536)
            assert data, seen
            seen += data

    return read


def test_a_client_that_leaves_in_the_stream_cancels_and_what_was_said_is_kept(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
):
    backend.reply(call_in_pieces("send_message", '{"message": "Half a reply') + hang())
    messages = [user("a garnet")]
    leave(
        gateway,
        person.api_key,
        read_until(b"Half a reply"),
        model=person.model,
        messages=messages,
        stream=True,
    )
    backend.requests[0].wait_disconnected()
    found: list[str] = []
    for _ in range(50):  # the turn is being stored meanwhile
        found = recalled(backend, person, "garnet")
        if found:
            break
    assert found == ["a garnet"]
    backend.reply(send("Yes."))
    person.ask([*messages, {"role": "assistant", "content": "Half a reply"}, user("go on")])
    assert "Half a reply" in json.dumps(backend.requests[-1].body["messages"])


def test_a_client_that_leaves_during_memory_steps_cancels(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str
):
    backend.reply(call("archival_storage_search", {"query": "x"}), hang())
    leave(
        gateway,
        api_key,
        lambda _: void(backend.wait_for_requests(2)),
        model=model,
        messages=HELLO,
    )
    backend.requests[1].wait_disconnected()


def void(_: object) -> None:
    """Only the wait counted."""


# Keep-alive


def test_a_silent_stream_is_kept_alive(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--keepalive-seconds", "0.1")
    gate = Gate()
    backend.reply(call("archival_storage_search", {"query": "x"}), wait(gate) + send("At last."))
    headers = {"authorization": f"Bearer {api_key}"}
    body = {"model": model, "messages": HELLO, "stream": True}
    with httpx.stream(
        "POST", f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=30
    ) as response:
        arriving = response.iter_raw()
        assert next(arriving) == b": keep-alive\n\n"
        assert next(arriving) == b": keep-alive\n\n"
        gate.open()
        rest = b"".join(arriving)
    *chunks, done = data_of(rest)
    assert done == "[DONE]"
    said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
    assert said == "At last."


def test_an_error_after_a_comment_is_an_event(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str, model: str
):
    gateway = start_gateway("--keepalive-seconds", "0.1", "--idle-timeout-seconds", "1")
    backend.reply(hang())
    with openai.OpenAI(base_url=gateway.base_url, api_key=api_key, max_retries=0) as client:
        stream = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], stream=True
        )
        with pytest.raises(openai.APIError, match="silent"):
            next(stream)


# What SDKs look at


LIMITS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "6m0s",
    "x-request-id": "req_1",
    "openai-processing-ms": "12",
    "openai-version": "2020-10-01",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", [{}, {"n": 2}], ids=["", "clean"])
@pytest.mark.parametrize("status", [200, 429])
def test_limits_and_ids_are_told_with_answers_and_errors(
    backend: ScriptedBackend, person: Person, status: int, asked: dict[str, Any], stream: bool
):
    answer = send("Hi.").but(headers=LIMITS) if status == 200 else error(status, headers=LIMITS)
    backend.reply(answer)
    response = raw(
        person.base_url,
        person.api_key,
        model=person.model,
        messages=HELLO,
        stream=stream,
        **asked,
    )
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in LIMITS} == LIMITS


TOLD: dict[str, tuple[int, dict[str, Any]]] = {
    "model": (
        404,
        {
            "message": "The model `x` does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        },
    ),
    "quota": (
        429,
        {
            "message": "You exceeded your current quota.",
            "type": "insufficient_quota",
            "param": None,
            "code": "insufficient_quota",
        },
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", [{}, {"n": 2}], ids=["", "clean"])
@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_errors_keep_status_and_code(
    backend: ScriptedBackend,
    person: Person,
    told: tuple[int, dict[str, Any]],
    asked: dict[str, Any],
    stream: bool,
):
    status, failure = told
    backend.reply(error(status, {"error": failure}))
    request: dict[str, Any] = {"model": person.model, "messages": HELLO, "stream": stream}
    response = raw(person.base_url, person.api_key, **request, **asked)
    assert (response.status_code, response.json()) == (status, {"error": failure})


@pytest.mark.parametrize("stream", [False, True])
def test_a_context_that_stays_too_long_is_told_as_such(
    backend: ScriptedBackend, person: Person, stream: bool
):
    failure = {
        "message": "This model's maximum context length is 16 tokens. However, your messages "
        "resulted in 900 tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    backend.script(lambda _: error(400, {"error": failure}))
    with pytest.raises(openai.BadRequestError) as refused:
        (streamed_way if stream else whole_way)(
            person.base_url, person.api_key, model=person.model, messages=HELLO
        )
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.body == failure


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_sent_again_under_its_key_is_stored_once(
    backend: ScriptedBackend, person: Person, stream: bool
):
    """A client that sends its newest message only: nothing else tells a retry from new words."""
    backend.reply(send("One."), send("Two."), send("Three."))
    names = {"X-MemGPT-Conversation": person.model}
    key = {"Idempotency-Key": "k-1"}
    for headers in (names | key, names | key, names | {"Idempotency-Key": "k-2"}):
        person.way = streamed_way if stream else whole_way
        person.ask([user("a peridot")], extra_headers=headers)
    told = [message.get("content") for message in backend.requests[1].body["messages"]]
    assert told.count("a peridot") == 1
    told = [message.get("content") for message in backend.requests[2].body["messages"]]
    assert told.count("a peridot") == 2
    assert "idempotency-key" not in backend.requests[0].headers


STORED = [
    ("GET", "?limit=2"),
    ("GET", "/chatcmpl-1"),
    ("POST", "/chatcmpl-1"),
    ("DELETE", "/chatcmpl-1"),
    ("GET", "/chatcmpl-1/messages?after=m"),
]


@pytest.mark.parametrize(("method", "path"), STORED, ids=str)
def test_stored_completions_are_the_backends(
    backend: ScriptedBackend, person: Person, method: str, path: str
):
    backend.script(lambda _: error(418, ODD_BODY))  # the scripted backend lists none
    url = f"{person.base_url}/chat/completions{path}"
    response = httpx.request(method, url, headers={"authorization": f"Bearer {person.api_key}"})
    if path.startswith("/"):
        assert response.headers["x-echo-target"] == f"/v1/chat/completions{path}"
        assert response.headers["x-echo-method"] == method
    else:
        assert (response.status_code, response.content) == (418, ODD_BODY)
        assert (backend.requests[0].method, backend.requests[0].query) == (method, "limit=2")


@pytest.mark.parametrize("path", ["/", "/chat/completions", "/v2/chat/completions", "/favicon.ico"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_routes_are_errors_in_openais_shape(
    gateway: GatewayProcess, path: str, method: str
):
    response = httpx.request(method, f"{gateway.origin}{path}")
    assert response.status_code in (404, 405)
    assert error_of(response)["type"] == "invalid_request_error"
