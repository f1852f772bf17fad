"""A server that answers connections by hand, for what no HTTP server would do on purpose."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

Handler = Callable[[BinaryIO, BinaryIO], None]
"""Serves one connection: reads from the first, writes to the second, then it is closed."""


def read_request(reader: BinaryIO) -> str:
    """Read one request and return its first line; empty when the client has left."""
    first = reader.readline()
    size = 0
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    reader.read(size)
    return first.decode("latin-1").strip()


def respond(writer: BinaryIO, body: bytes, kind: str = "application/json") -> None:
    """Answer 200 and keep the connection."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    writer.flush()


@contextmanager
def raw_server(*handlers: Handler) -> Iterator[str]:
    """Serve one connection after the other, the last handler for all further ones.

    Gives the base URL.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    with suppress(OSError), listener:
        thread = threading.Thread(target=_serve, args=(listener, handlers), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _serve(listener: socket.socket, handlers: tuple[Handler, ...]) -> None:
    number = 0
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the test is over
        handler = handlers[min(number, len(handlers) - 1)]
        number += 1
        threading.Thread(target=_handle, args=(connection, handler), daemon=True).start()


def _handle(connection: socket.socket, handler: Handler) -> None:
    with connection, connection.makefile("rb") as reader, connection.makefile("wb") as writer:
        handler(reader, writer)
