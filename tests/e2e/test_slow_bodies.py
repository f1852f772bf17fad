"""Clients whose request's body does not come: an answer, and the connection is closed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import Settings
from tests.e2e.in_process import served
from tests.support.backend import ScriptedBackend

PATIENCE = 0.05
"""Seconds that these gateways wait for a body."""
DEADLINE = 20
SMALL, LARGE = "content-length: 100", f"content-length: {2**21}"
CHUNKED = "transfer-encoding: chunked"


@contextmanager
def impatient(directory: Path, backend: ScriptedBackend, *, several: bool) -> Iterator[int]:
    """A gateway that waits for a body no longer than ``PATIENCE``; gives its port."""
    settings = Settings(data_dir=directory / "data")
    if several:
        told = {"backends": [{"name": "one", "url": backend.base_url, "pass_client_key": True}]}
        file = directory / "backends.yaml"
        file.write_text(json.dumps(told))
        settings = Settings(data_dir=directory / "data", backends_file=file)
    app = create_app(settings, backend.base_url, several=read_backends(settings))
    hurried = replace(app, exchanges=replace(app.exchanges, body_seconds=PATIENCE))
    with served(hurried) as origin:
        yield int(origin.rpartition(":")[2])


def answer(port: int, head: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request whose body breaks off; return the answer, and that nothing follows it."""
    lines = [head, "host: x", "authorization: Bearer sk-1", "content-type: application/json"]
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        told = b""
        while more := client.recv(2**16):  # to the end of the connection
            told += more
    top, _, rest = told.partition(b"\r\n\r\n")
    status, *fields = top.decode().split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    return int(status.split()[1]), headers, rest


@pytest.mark.parametrize("several", [False, True], ids=["one backend", "several"])
@pytest.mark.parametrize(
    ("target", "framing", "body"),
    [
        ("chat/completions", SMALL, b""),
        ("chat/completions", SMALL, b'{"model": '),
        ("chat/completions", CHUNKED, b'3\r\n{"m\r\n'),
        ("responses", SMALL, b'{"model": '),
        ("embeddings", SMALL, b"{"),
        ("files", LARGE, b"x" * 2**20),
        ("files", CHUNKED, b"3\r\nabc\r\n2\r\nx"),
    ],
)
def test_a_body_that_does_not_come_is_given_up(
    tmp_path: Path, backend: ScriptedBackend, several: bool, target: str, framing: str, body: bytes
):
    with impatient(tmp_path, backend, several=several) as port:
        status, headers, told = answer(port, f"POST /v1/{target} HTTP/1.1\r\n{framing}", body)
    assert (status, headers["connection"]) == (408, "close")
    assert json.loads(told)["error"] == {
        "message": "The request's body did not come in time.",
        "type": "invalid_request_error",
        "param": None,
        "code": "request_timeout",
    }
    assert [each.path for each in backend.requests] == []


def test_a_listener_whose_body_does_not_come_is_left(tmp_path: Path, backend: ScriptedBackend):
    with impatient(tmp_path, backend, several=False) as port:
        head = f"GET /memgpt/events HTTP/1.1\r\n{SMALL}\r\nconnection: close"
        status, _, told = answer(port, head, b"{")
    assert (status, b": listening" in told) == (200, True)
