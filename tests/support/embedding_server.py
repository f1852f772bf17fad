"""An OpenAI-compatible embedding server on a real socket, around any model.

It runs in a thread with an event loop of its own; a test can make it fail, hold it up, stop it
and start it again on the same port.
"""

from __future__ import annotations

import base64
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.concepts import concepts

DEADLINE = 10.0

Model = Callable[[str], Sequence[float]]


class EmbeddingServer:
    """The server; a context manager that starts and stops it.

    Attributes:
        requests: The bodies of all requests so far.
        keys: Their ``Authorization``.
        failures: Answers for the next requests, in place of vectors.
        refuses: Returns an answer for a request that the model does not take, else None.
        knows_base64: Whether ``encoding_format`` is obeyed; else it is refused.
        held: While it is cleared, no request is answered.
    """

    def __init__(self, model: Model = concepts, port: int = 0) -> None:
        self.model = model
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.failures: deque[Response] = deque()
        self.refuses: Callable[[dict[str, Any]], Response | None] = lambda _: None
        self.knows_base64 = True
        self.held = threading.Event()
        self.held.set()
        self._port = port
        self._answered: set[tuple[str, str]] = set()
        self._answer = threading.Condition()

    def wait_until_embedded(self, model: str, *texts: str, seconds: float = 3 * DEADLINE) -> None:
        """Wait until so many texts have got their vectors by this model."""
        wanted = {(model, text) for text in texts}
        with self._answer:
            assert self._answer.wait_for(lambda: wanted <= self._answered, seconds), "not embedded"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def texts(self) -> list[str]:
        """All texts that were asked for, in order."""
        return [text for request in self.requests for text in request["input"]]

    def start(self) -> Self:
        app = Starlette(routes=[Route("/v1/embeddings", self._embeddings, methods=["POST"])])
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", loop="asyncio")
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", self._port), backlog=512)
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        return self

    def stop(self) -> None:
        self.held.set()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the embedding server did not stop"
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def _embeddings(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.keys.append(request.headers.get("authorization"))
        await run_in_threadpool(self.held.wait, DEADLINE)
        if self.failures:
            return self.failures.popleft()
        encoding = body.get("encoding_format")
        if encoding is not None and not self.knows_base64:
            return refusal(400, "unknown field: encoding_format")
        if (refused := self.refuses(body)) is not None:
            return refused
        vectors = await run_in_threadpool(lambda: [self.model(text) for text in body["input"]])
        with self._answer:
            self._answered |= {(body["model"], text) for text in body["input"]}
            self._answer.notify_all()
        return JSONResponse(_answer(body["model"], vectors, encoding == "base64"))


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error in OpenAI's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def _answer(model: str, vectors: Sequence[Sequence[float]], is_base64: bool) -> dict[str, Any]:
    """An answer whose entries are in another order than asked: their index counts."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _base64(vector) if is_base64 else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": len(vectors), "total_tokens": len(vectors)}
    return {"object": "list", "data": data[::-1], "model": model, "usage": usage}


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(np.array(vector, "<f4").tobytes()).decode()
