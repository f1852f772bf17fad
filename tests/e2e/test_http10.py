"""Clients of HTTP/1.0, such as a proxy of the older kind in front of the gateway."""

from __future__ import annotations

import json
import socket

import pytest

from tests.e2e.chatting import data_of, send, user
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Gate, wait


def head_of(path: str, key: str, body: bytes, version: str) -> bytes:
    fields = f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\nhost: x\r\n"
    return f"POST /v1/{path} HTTP/{version}\r\n{fields}\r\n".encode()


def answer(client: socket.socket, heard: bytes = b"") -> tuple[bytes, bytes]:
    """Read to the end of the connection; return the answer's head and its body."""
    while more := client.recv(2**16):
        heard += more
    head, _, body = heard.partition(b"\r\n\r\n")
    return head.lower(), body


def connected(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=20)


def test_a_stream_ends_with_its_connection(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str
):
    rest = Gate()
    backend.reply(send("Good day.") + wait(rest) + send("And good night."))
    asked = {"model": model, "messages": [user("hi")], "stream": True}
    body = json.dumps(asked).encode()
    with connected(gateway) as client:
        client.sendall(head_of("chat/completions", api_key, body, "1.0") + body)
        begun = client.recv(2**16)
        rest.open()
        head, told = answer(client, begun)
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    events = data_of(told)
    assert events[-1] == "[DONE]"
    texts = [choice["delta"].get("content") or "" for e in events[:-1] for choice in e["choices"]]
    assert "".join(texts) == "Good day.\n\nAnd good night."
    assert b"[DONE]" not in begun


@pytest.mark.parametrize("path", ["chat/completions", "embeddings", "echo/stream"])
def test_other_answers_are_whole(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str, path: str
):
    backend.script(lambda _: send("Good day."))
    body = json.dumps({"model": model, "messages": [user("hi")]}).encode()
    with connected(gateway) as client:
        client.sendall(head_of(path, api_key, body, "1.0") + body)
        head, told = answer(client)
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    if path == "chat/completions":
        assert json.loads(told)["choices"][0]["message"]["content"] == "Good day."
    else:
        assert told == body


def test_each_of_several_requests_is_answered_in_its_version(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str
):
    body = b'{"a": 1}'
    both = [head_of("echo/stream", api_key, body, version) + body for version in ("1.1", "1.0")]
    with connected(gateway) as client:
        client.sendall(b"".join(both))
        head, told = answer(client)
    assert b"transfer-encoding: chunked" in head
    first, _, second = told.partition(b"0\r\n\r\n")
    assert first == b'8\r\n{"a": 1}\r\n'
    top, _, rest = second.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in top.lower()
    assert rest == body
