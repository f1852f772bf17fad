"""Passing through to several backends: by the model that a request names."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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
from memgpt_proxy.api.passthrough import Exchange, Passthrough, Upload, target_of
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
    fields: dict[str, Any]

    def at(self, route: Route) -> httpx.Request:
        """Return it readdressed to where its model is, under the model's name there."""
        body, headers = self.body, self.headers
        if route.model != self.fields["model"]:
            body = orjson.dumps({**self.fields, "model": route.model})
            headers = [header for header in headers if header[0] != b"content-length"]
        return route.backend.forward(self.method, self.target, headers, body)


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
        self, scope: Scope, receive: Receive, upload: Upload, body: bytes | None
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
        if body is None and method == "POST" and _is_json(headers):
            body = await read_body(receive, self._max_body)
        fields = _fields(body)
        if body is None or fields is None:
            return await super()._exchange(scope, receive, upload, body)
        upload.read.set()
        call = _Call(method, target, headers, body, fields)
        routes = self._backends.routes(fields["model"])
        if path not in _REPEATABLE:
            backend = self._backends.backend(routes[0].backend.name)  # no other can take its place
            return partial(backend.exchange, call.at(routes[0]))
        return partial(self._answer, routes, call.at)

    @asynccontextmanager
    async def _answer(
        self, routes: Sequence[Route], request: Callable[[Route], httpx.Request]
    ) -> AsyncIterator[httpx.Response]:
        """Give the answer of the first backend that has one; raises the last one's error."""
        async with AsyncExitStack() as held:
            for route in available(routes):
                asked = route.backend.exchange(request(route), repeatable=True)
                try:
                    response = await held.enter_async_context(asked)
                except GatewayError as error:
                    if route is routes[-1] or not may_pass(error):
                        raise
                    log.warning("%r cannot answer (%s)", route.key, error.code)
                    self._backends.telemetry.fell_back(route.backend.name)
                else:
                    yield response
                    return


def _described(headers: RawHeaders, route: Route) -> httpx.Request:
    """Return the request for what a model's backend tells of it."""
    return route.backend.forward("GET", f"{_MODELS}/{quote(route.model, safe='/')}", headers, b"")


def _is_json(headers: RawHeaders) -> bool:
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return kind.partition(b";")[0].strip().lower() == b"application/json"


def _fields(body: bytes | None) -> dict[str, Any] | None:
    """Return a body's fields where it is a JSON object that names a model."""
    if not body:
        return None
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    named = isinstance(fields, dict) and isinstance(fields.get("model"), str)
    return fields if named else None
