"""Servers that say something else than the real ones here would: old, full, or no such server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

ELASTIC = {"X-Elastic-Product": "Elasticsearch"}


@contextmanager
def answering(
    answers: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = ELASTIC
) -> Iterator[str]:
    """Serve JSON by path; what has none gets an empty object. Yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - as the base class calls it

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with _served(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def redis_that_says(info: str) -> Iterator[str]:
    """Serve what looks like a Redis with this INFO; yields its URL."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while command := self._command():
                if command[0] == b"INFO":
                    self.wfile.write(b"$%d\r\n%b\r\n" % (len(info), info.encode()))
                elif command[0] == b"TIME":
                    self.wfile.write(b"*2\r\n$1\r\n7\r\n$1\r\n0\r\n")
                else:
                    self.wfile.write(b"+OK\r\n")

        def _command(self) -> list[bytes]:
            count = self.rfile.readline()[1:]
            lines = [self.rfile.readline() for _ in range(2 * int(count or 0))]
            return [line.strip().upper() for line in lines[1::2]]

    server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with _served(server):
        yield f"redis://127.0.0.1:{server.server_address[1]}"


@contextmanager
def _served(server: ThreadingTCPServer | ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
