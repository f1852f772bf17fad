"""A client that reads slowly: the backend is read no faster, and nothing is heaped up here."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.conftest import StartGateway
from tests.support.gateway import GatewayProcess

PIECE = "word " * 4096
MOST = 256 * 2**20
"""Bytes that the backend has to send: far more than all sockets on the way take."""
BOUND = 48 * 2**20
"""Bytes that sockets and buffers on the way may take in all."""
STUCK_SECONDS = 2
"""A backend that could not send for so long is held back."""
DEADLINE = 60


class Endless:
    """A backend that sends as fast as it can; it counts what it could send before it was stuck."""

    def __init__(self) -> None:
        self.sent = 0
        self.stuck = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            asked = connection.recv(2**20)
            if not asked.startswith(b"POST"):
                connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                return
            timeout = struct.pack("ll", STUCK_SECONDS, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            connection.sendall(_event({"tool_calls": [_head()]}))
            piece = _event({"tool_calls": [{"index": 0, "function": {"arguments": PIECE}}]})
            with suppress(BlockingIOError):
                while self.sent < MOST:
                    self.sent += connection.send(piece)  # an event may be cut: nobody reads it
                return
            self.stuck.set()


def _head() -> dict[str, Any]:
    return {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "send_message", "arguments": '{"message": "'},
    }


def _event(delta: dict[str, Any]) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


@contextmanager
def endless() -> Iterator[Endless]:
    backend = Endless()
    thread = threading.Thread(target=backend.serve, daemon=True)
    thread.start()
    try:
        yield backend
    finally:
        backend.close()
        thread.join(10)


def ask(gateway: GatewayProcess, api_key: str, path: str) -> socket.socket:
    """Send a request for a stream; its answer is not read."""
    message = {"role": "user", "content": "Go on."}
    body = json.dumps({"model": "m", "messages": [message], "stream": True}).encode()
    head = (
        f"POST /v1/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {api_key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    client = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    client.sendall(head.encode() + body)
    return client


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_a_client_that_does_not_read_holds_the_backend_back(
    start_gateway: StartGateway, api_key: str, path: str
):
    with endless() as backend:
        gateway = start_gateway(backend_url=backend.url)
        with ask(gateway, api_key, path) as client:
            assert client.recv(16).startswith(b"HTTP/1.1 200")
            assert backend.stuck.wait(DEADLINE), f"{backend.sent} bytes were taken"
    assert 0 < backend.sent < BOUND
