"""A scripted backend: a real HTTP server on a real socket that answers as a test tells it.

The server runs in a thread with an event loop of its own, so sync and async tests use it alike.
What it can say is in ``tests.support.replies``.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from tests.support import wire
from tests.support.replies import Gate, Reply, Wait, error

DEADLINE = 10.0
ECHO_WHEN_EMPTY = b'{ "exact" :\t"bytes \xc3\xa4",\n\n"zeros":[1.0,1e0] }\n'

Script = Callable[[dict[str, Any]], Reply]


@dataclass(slots=True)
class Recorded:
    """A request as it arrived.

    ``body`` is its parsed JSON, None where it is none; ``disconnected`` is set when the client
    left before the whole response was written, ``answered`` when all of it was.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes
    body: Any
    disconnected: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)

    def wait_disconnected(self, seconds: float = DEADLINE) -> None:
        assert self.disconnected.wait(seconds), "the client never left"


class ScriptedBackend:
    """The server and its script; a context manager that starts and stops it.

    ``reply`` queues answers, one a request; ``script`` answers every request by a function. A
    request that neither covers gets a 500 and is counted in ``unexpected``.

    Args:
        certificate: A file with a certificate and its key, with which it speaks TLS.
    """

    def __init__(self, port: int = 0, certificate: Path | None = None) -> None:
        self._arrival = threading.Condition()
        self._release = Gate()
        self.reset()
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", _Chat(self)),
                Route("/v1/models", self._list_models),
                Mount("/v1", _Echo(self)),
            ]
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            lifespan="off",
            ws="none",
            loop="asyncio",
            ssl_certfile=certificate,
        )
        self._server = uvicorn.Server(config)
        # Listening from its creation on: a request that comes before the server runs waits.
        self._socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        scheme = "http" if certificate is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def reset(self) -> None:
        """Forget script and records, and let everything that still hangs go."""
        self._release.open()
        self._release = Gate()
        self._queue: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._script: Script | None = None
        self.requests: list[Recorded] = []
        self.passed: list[Recorded] = []
        self.unexpected = 0
        self.models: list[dict[str, Any]] = [
            {"id": "scripted", "object": "model", "created": wire.CREATED, "owned_by": "tests"}
        ]

    def reply(self, *replies: Reply) -> None:
        """Answer the next requests with these, in this order."""
        for reply in replies:
            self._queue.put(reply)

    def script(self, answer: Script) -> None:
        """Answer every request, once the queue is empty, with what the function returns for it."""
        self._script = answer

    def wait_for_requests(self, count: int, seconds: float = DEADLINE) -> list[Recorded]:
        """Wait until so many chat requests have arrived, and return them."""
        with self._arrival:
            arrived = self._arrival.wait_for(lambda: len(self.requests) >= count, seconds)
        assert arrived, f"{len(self.requests)} of {count} requests arrived"
        return self.requests

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release.open()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the scripted backend did not stop"

    async def _list_models(self, request: object) -> Response:
        return JSONResponse({"object": "list", "data": self.models})

    def _answer(self, recorded: Recorded) -> tuple[Reply, Gate]:
        with self._arrival:
            self.requests.append(recorded)
            self._arrival.notify_all()
        if not self._queue.empty():
            return self._queue.get(), self._release
        if self._script is not None:
            return self._script(recorded.body), self._release
        self.unexpected += 1
        return error(500, {"error": {"message": "the script has no reply left"}}), self._release


class _Chat:
    """``POST /v1/chat/completions``, as a plain ASGI application: it may drop connections."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        recorded = await _record(scope, receive)
        reply, release = self._backend._answer(recorded)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send_reply(reply, recorded, release, send))
            watching = group.create_task(_watch(receive, recorded, sending))
            sending.add_done_callback(lambda _: watching.cancel())


async def _record(scope: Scope, receive: Receive) -> Recorded:
    raw = b""
    while True:
        message = await receive()
        raw += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Recorded(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        raw=raw,
        body=body,
    )


async def _watch(receive: Receive, recorded: Recorded, sending: asyncio.Task[None]) -> None:
    await receive()  # the body was read: what comes next is the disconnect
    if not recorded.answered.is_set():
        recorded.disconnected.set()
        sending.cancel()


async def _send_reply(reply: Reply, recorded: Recorded, release: Gate, send: Send) -> None:
    request = recorded.body if isinstance(recorded.body, dict) else {}
    model = request.get("model", "scripted")
    streamed = bool(request.get("stream")) and not reply.ignore_stream
    if reply.hang and not (reply.parts and streamed):
        await _opened(release)
    elif reply.body is not None:
        await _send_whole(reply, reply.body, recorded, send)
    elif not streamed:
        body = json.dumps(wire.completion(reply, model), ensure_ascii=False).encode()
        await _send_whole(reply, body, recorded, send)
    else:
        await _send_stream(reply, model, recorded, release, send)


async def _send_whole(reply: Reply, body: bytes, recorded: Recorded, send: Send) -> None:
    for part in reply.parts:
        if isinstance(part, Wait):
            await _opened(part.gate)
    length = {"content-length": str(len(body))}
    await _start(reply, {"content-type": "application/json", **length}, send)
    if (left := wire.left_of(reply, body)) is not None:
        await send({"type": "http.response.body", "body": left, "more_body": True})
        return
    recorded.answered.set()
    await send({"type": "http.response.body", "body": body})


async def _send_stream(
    reply: Reply, model: str, recorded: Recorded, release: Gate, send: Send
) -> None:
    request = recorded.body
    include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    await _start(reply, {"content-type": "text/event-stream; charset=utf-8"}, send)
    for write in wire.writes(reply, model, include_usage):
        if isinstance(write, Gate):
            await _opened(write)
        elif write:
            await send({"type": "http.response.body", "body": write, "more_body": True})
    if reply.hang:
        await _opened(release)
    elif reply.die_after_events is None and reply.die_after_bytes is None:
        recorded.answered.set()
        await send({"type": "http.response.body", "body": b""})
    # Returning from an unfinished response makes the server drop the connection.


async def _start(reply: Reply, headers: dict[str, str], send: Send) -> None:
    merged = {**headers, **{name.lower(): value for name, value in reply.headers.items()}}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in merged.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})


async def _opened(gate: Gate) -> None:
    """Wait for a gate without closing it for others when this wait is cancelled."""
    await asyncio.shield(asyncio.wrap_future(gate.opened))


class _Echo:
    """Any other path below ``/v1``: gives the request's body back, byte for byte.

    An empty body is answered with ``ECHO_WHEN_EMPTY``; a path that ends in ``/stream`` sends it in
    writes of seven bytes, one that ends in ``/gzip`` compressed. ``x-echo-*`` headers say what
    arrived.
    """

    def __init__(self, backend: ScriptedBackend) -> None:
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        recorded = await _record(scope, receive)
        self._backend.passed.append(recorded)
        body = recorded.raw or ECHO_WHEN_EMPTY
        content_type = recorded.headers.get("content-type", "application/json")
        headers = {
            "content-type": content_type,
            "x-echo-method": recorded.method,
            "x-echo-target": f"{recorded.path}?{recorded.query}".removesuffix("?"),
        }
        writes = [body]
        if recorded.path.endswith("/stream"):
            headers["content-type"] = "text/event-stream"
            writes = [body[start : start + 7] for start in range(0, len(body), 7)]
        elif recorded.path.endswith("/gzip"):
            headers["content-encoding"] = "gzip"
            writes = [gzip.compress(body, mtime=0)]
        await _start(Reply(), headers, send)
        for write in writes:
            await send({"type": "http.response.body", "body": write, "more_body": True})
        recorded.answered.set()
        await send({"type": "http.response.body", "body": b""})
