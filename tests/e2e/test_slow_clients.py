"""Clients that take a connection and say nothing, or never end: a limit, of nobody's turn."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.server import Server
from memgpt_proxy.timed_http import TimedHttp
from tests.e2e.in_process import served
from tests.support.backend import ScriptedBackend
from tests.support.replies import Gate, text, wait

DEADLINE = 20
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
KEY = b"authorization: Bearer sk-1\r\n"
MODELS = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + KEY + b"\r\n"
PATIENT = 3600.0


@contextmanager
def impatient(
    directory: Path, backend: ScriptedBackend, *, head: float = PATIENT, rest: float = PATIENT
) -> Iterator[int]:
    """A gateway with limits of so many seconds; gives its port."""

    class Hurried(TimedHttp):
        head_seconds = head
        rest_seconds = rest

    settings = Settings(data_dir=directory / "data", max_request_mib=1)
    with served(create_app(settings, backend.base_url), http=Hurried) as origin:
        yield int(origin.rpartition(":")[2])


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)


def hear(client: socket.socket, awaited: bytes) -> None:
    """Wait until what is awaited has come, in however many pieces."""
    heard = b""
    while awaited not in heard:
        more = client.recv(2**16)
        assert more, f"the connection was closed after {heard!r}"
        heard += more


def told(port: int, *sent: bytes) -> bytes:
    """Send something and no more; return all that comes until the gateway closes."""
    with connected(port) as client:
        for part in sent:
            client.sendall(part)
        heard = b""
        while more := client.recv(2**16):
            heard += more
    return heard


@pytest.mark.parametrize(
    "begun", [b"P", HEAD, b"\r\nPOST /v1", HEAD + KEY], ids=["a byte", "fields", "a line", "key"]
)
def test_a_head_that_does_not_become_whole_is_given_up(
    tmp_path: Path, backend: ScriptedBackend, begun: bytes
):
    with impatient(tmp_path, backend, head=0.2) as port:
        top, _, body = told(port, begun).partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in top
    error = json.loads(body)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "request_timeout")


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n"])
def test_a_connection_on_which_nothing_is_asked_is_closed(
    tmp_path: Path, backend: ScriptedBackend, sent: bytes
):
    with impatient(tmp_path, backend, head=0.2) as port:
        assert told(port, sent) == b""


def test_the_second_head_of_a_connection_has_its_limit_too(
    tmp_path: Path, backend: ScriptedBackend
):
    with impatient(tmp_path, backend, head=0.2) as port, connected(port) as client:
        client.sendall(MODELS)
        hear(client, b'"object":"list"')
        client.sendall(HEAD)
        heard = b""
        while more := client.recv(2**16):
            heard += more
    assert b"HTTP/1.1 408 " in heard


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD + b"content-length: 1000000\r\n\r\n", b"401"),
        (HEAD + KEY + b"content-length: 100000000\r\n\r\n" + b"x" * 2**21, b"413"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"401"),
    ],
)
def test_the_rest_of_a_body_that_was_refused_is_given_up(
    tmp_path: Path, backend: ScriptedBackend, head: bytes, status: bytes
):
    with impatient(tmp_path, backend, rest=0.2) as port:
        heard = told(port, head)
    assert heard.startswith(b"HTTP/1.1 " + status)
    assert heard.count(b"HTTP/1.1 ") == 1
    assert backend.requests == []


def test_a_rest_that_comes_leaves_the_connection_for_the_next_request(
    tmp_path: Path, backend: ScriptedBackend
):
    with impatient(tmp_path, backend, rest=DEADLINE) as port, connected(port) as client:
        client.sendall(HEAD + b"content-length: 10\r\n\r\n12345")
        hear(client, b'"invalid_api_key"}}')
        client.sendall(b"67890" + MODELS)
        hear(client, b'"object":"list"')


def test_one_that_has_ended_its_rest_and_then_is_silent_is_closed(
    tmp_path: Path, backend: ScriptedBackend
):
    with impatient(tmp_path, backend, head=0.2, rest=DEADLINE) as port, connected(port) as client:
        client.sendall(HEAD + b"content-length: 10\r\n\r\n12345")
        hear(client, b'"invalid_api_key"}}')
        client.sendall(b"67890")
        assert client.recv(2**16) == b""


def test_an_answer_that_takes_longer_than_a_head_is_not_cut(
    tmp_path: Path, backend: ScriptedBackend
):
    gate = Gate()
    backend.reply(wait(gate) + text("At last."))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi."}]}).encode()
    whole = HEAD + KEY + b"content-length: %d\r\n\r\n" % len(body) + body
    with impatient(tmp_path, backend, head=0.1) as port, connected(port) as client:
        client.sendall(whole + HEAD)  # the next one has begun, and does not go on
        backend.wait_for_requests(1)
        client.settimeout(0.5)  # well over the limit
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(DEADLINE)
        gate.open()
        heard = b""
        while more := client.recv(2**16):
            heard += more
    assert b"At last." in heard
    assert b"HTTP/1.1 408 " in heard


def test_the_gateway_is_served_with_these_limits(tmp_path: Path):
    app = create_app(Settings(data_dir=tmp_path / "data"), "http://127.0.0.1:9/v1")
    config = Server(app, app.draining, delay=0, grace=0).config
    config.load()
    assert config.http_protocol_class is TimedHttp
    assert (TimedHttp.head_seconds, TimedHttp.rest_seconds) == (30.0, 30.0)


@pytest.mark.parametrize(
    "sent",
    [b"BREW /v1/models HTTP/1.1\r\n\r\n", b"hello\r\n\r\n", "GET /v1/modéls HTTP/1.1\r\n".encode()],
    ids=["method", "words", "path"],
)
def test_what_is_no_request_is_refused_in_openais_shape(
    tmp_path: Path, backend: ScriptedBackend, sent: bytes
):
    with impatient(tmp_path, backend) as port:
        top, _, body = told(port, sent).partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
