"""Passing through to several backends: by the model that a request names."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

import httpx
import orjson
from starlette.types import Receive, Scope

from memgpt_proxy.api.admission import Admission
from memgpt_proxy.api.body import read_body
from memgpt_proxy.api.models import merged_models
from memgpt_proxy.api.passthrough import (
    Exchange,
    Mend,
    Passthrough,
    Read,
    Upload,
    fields_of,
    mended,
    target_of,
    without_length,
)
from memgpt_proxy.backend.client import Route, available
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.backend.retrying import may_pass
from memgpt_proxy.backend.several import SeveralBackends
from memgpt_proxy.errors import GatewayError

log = logging.getLogger(__name__)

_MODELS = "/models"
_REPEATABLE = frozenset(
    {"/chat/completions", "/completions", "/embeddings", "/moderations", "/rerank"}
)
"""Paths that answer and keep nothing, so that a request may be made again, or elsewhere."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A client's request; ``fields`` is its body where that is a JSON object with a model."""

    method: str
    target: str
    headers: RawHeaders
    body: bytes
    fields: Mapping[str, Any]

    def at(self, route: Route, body: bytes) -> httpx.Request:
        """Return it readdressed to where its model is, under the model's name there.

        Args:
            body: Its own, or as the backend is known to want it.
        """
        if route.model != self.fields["model"]:
            body = orjson.dumps({**orjson.loads(body), "model": route.model})
        headers = self.headers if body is self.body else without_length(self.headers)
        return route.backend.forward(self.method, self.target, headers, body)

    def asked(self, mend: Mend | None, route: Route) -> AbstractAsyncContextManager[httpx.Response]:
        """Return the exchange with a route's backend."""

        def ask(body: bytes) -> AbstractAsyncContextManager[httpx.Response]:
            return route.backend.exchange(self.at(route, body), repeatable=True)

        return ask(self.body) if mend is None else mended(ask, mend(route), self.body)


class RoutedPassthrough(Passthrough):
    """The endpoint in front of several backends.

    Requests that name no model go to the default backend.

    Args:
        max_body: Bytes of a JSON body at the most: it is read to learn the model.
    """

    def __init__(self, backends: SeveralBackends, admission: Admission, max_body: int) -> None:
        super().__init__(backends.backend(backends.told.first.name), admission)
        self._backends = backends
        self._max_body = max_body

    async def _exchange(
        self, scope: Scope, receive: Receive, upload: Upload, read: Read | None
    ) -> Exchange:
        method, headers = scope["method"], scope["headers"]
        target = target_of(scope)
        path = target.partition("?")[0].rstrip("/")
        if method == "GET" and path == _MODELS:
            upload.read.set()
            return partial(merged_models, self._backends, headers)
        if method == "GET" and path.startswith(f"{_MODELS}/"):
            upload.read.set()
            model = unquote(path.removeprefix(f"{_MODELS}/"))
            return partial(self._answer, self._backends.routes(model), partial(_described, headers))
        if read is None and method == "POST" and _is_json(headers):
            body = await read_body(receive, self._max_body)
            read = Read(body, fields_of(body))
        if read is None or read.fields is None:
            return await super()._exchange(scope, receive, upload, read)
        upload.read.set()
        call = _Call(method, target, headers, read.body, read.fields)
        routes = self._backends.routes(read.fields["model"])
        if path not in _REPEATABLE:
            backend = self._backends.backend(routes[0].backend.name)  # no other can take its place
            return partial(backend.exchange, call.at(routes[0], read.body))
        return partial(self._answer, routes, partial(call.asked, read.mend))

    @asynccontextmanager
    async def _answer(
        self,
        routes: Sequence[Route],
        ask: Callable[[Route], AbstractAsyncContextManager[httpx.Response]],
    ) -> AsyncIterator[httpx.Response]:
        """Give the answer of the first backend that has one; raises the last one's error."""
        async with AsyncExitStack() as held:
            for route in available(routes):
                try:
                    response = await held.enter_async_context(ask(route))
                except GatewayError as error:
                    if route is routes[-1] or not may_pass(error):
                        raise
                    log.warning("%r cannot answer (%s)", route.key, error.code)
                    self._backends.telemetry.fell_back(route.backend.name)
                else:
                    yield response
                    return


def _described(headers: RawHeaders, route: Route) -> AbstractAsyncContextManager[httpx.Response]:
    """Return the exchange that asks a model's backend what it tells of it."""
    target = f"{_MODELS}/{quote(route.model, safe='/')}"
    asked = route.backend.forward("GET", target, headers, b"")
    return route.backend.exchange(asked, repeatable=True)


def _is_json(headers: RawHeaders) -> bool:
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return kind.partition(b";")[0].strip().lower() == b"application/json"
