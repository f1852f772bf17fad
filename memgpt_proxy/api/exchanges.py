"""What all HTTP requests have in common: an id, a line in the log, metrics, and draining."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memgpt_proxy.api.body import BODY_SECONDS, TimedBody
from memgpt_proxy.api.replies import send_error
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.draining import Draining
from memgpt_proxy.errors import Stopping
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.telemetry.exchange import CURRENT, Exchange, fit_for_a_log, request_id
from memgpt_proxy.telemetry.logs import EXCHANGE
from memgpt_proxy.telemetry.spans import Span, Spans

access = logging.getLogger("memgpt_proxy.access")

REQUEST_ID = b"x-request-id"
CHAT_COMPLETIONS = "/v1/chat/completions"
RESPONSES = "/v1/responses"

_CLOSE = (b"connection", b"close")
_TURNS = "/v1/"
"""What is waited for when the gateway is stopped."""
_OWNERS = "/memgpt/"
_OWN = ("/healthz", "/readyz", "/metrics", "/demo/")
"""Answered until the end, and neither logged nor counted: operators' probes, and steps of turns."""
_ROUTES = frozenset({CHAT_COMPLETIONS, RESPONSES, "/v1/models", "/v1/embeddings"})
_OTHER = "other"
_SERVER_ERRORS = 500
"""The first of these statuses; it stands for what nothing has expected, too."""
_LONGEST_PATH = 200
"""Bytes of a path that the access log shows."""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Lets requests through to the application while there is a gateway to answer them.

    Attributes:
        logs: Each answer gets a line in the access log.
        body_seconds: How long a request's body may keep its reader waiting.
    """

    telemetry: Telemetry
    draining: Draining
    logs: bool
    body_seconds: float = BODY_SECONDS

    async def answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Have ``app`` answer one request, or refuse it where the gateway is being stopped."""
        path: str = scope["path"]
        exchange = _begun(scope)
        CURRENT.set(exchange)
        receive = TimedBody(receive, exchange, self.body_seconds)
        answering = _Answering(exchange, send, self.draining)
        if path.startswith(_OWN):
            await app(scope, receive, answering)
            return
        if self.telemetry.spans is not None:
            _begin_span(self.telemetry.spans, exchange, scope)
        try:
            if self.draining.refuses:
                await send_error(answering, Stopping())
            elif path.startswith(_TURNS):
                await self._waited_for(app, scope, receive, answering)
            else:
                await app(scope, receive, answering)
        except Exception:
            # The server answers so, behind this.
            exchange.status = exchange.status or _SERVER_ERRORS
            raise
        finally:
            self._ended(exchange)

    async def _waited_for(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one that is waited for when the gateway is stopped."""
        self.draining.entered()
        try:
            await app(scope, receive, send)
        finally:
            self.draining.left()

    def _ended(self, exchange: Exchange) -> None:
        self.telemetry.request_ended(
            exchange.method, exchange.route, exchange.status, exchange.passed
        )
        if exchange.issued:
            self.telemetry.key_used(exchange.key, exchange.tokens)
        if exchange.span is not None:
            _end_span(exchange.span, exchange)
        if self.logs and access.isEnabledFor(logging.INFO):
            _log(exchange)


def _log(exchange: Exchange) -> None:
    """Write the line; made here, since to find out where in the code it is takes long."""
    extra = {EXCHANGE: exchange}
    access.handle(
        access.makeRecord(access.name, logging.INFO, "", 0, "answered", (), None, extra=extra)
    )


class _Answering:
    """Sends an answer, noting its status. Called for each chunk: it is no coroutine itself."""

    __slots__ = ("_draining", "_exchange", "_send")

    def __init__(self, exchange: Exchange, send: Send, draining: Draining) -> None:
        self._exchange = exchange
        self._send = send
        self._draining = draining

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._exchange.status = message["status"]
            message["headers"] = self._headed(message.get("headers", ()))
        elif not message.get("more_body"):
            self._exchange.answered = time.perf_counter()
        return self._send(message)

    def _headed(self, headers: RawHeaders) -> RawHeaders:
        added = [*headers]
        if (given := _given_id(headers)) is None:
            added.append((REQUEST_ID, self._exchange.id.encode("ascii")))
        else:
            self._exchange.backend_id = fit_for_a_log(given)
        if self._draining.begun and _CLOSE not in added:
            added.append(_CLOSE)
        return added


def _given_id(headers: RawHeaders) -> bytes | None:
    for name, value in headers:
        if name == REQUEST_ID:
            return value
    return None


def _begun(scope: Scope) -> Exchange:
    given = _given_id(scope["headers"])
    shown = scope["raw_path"][:_LONGEST_PATH].decode("ascii", "replace")
    return Exchange(request_id(given), scope["method"], shown, _route(scope["path"]))


def _begin_span(spans: Spans, exchange: Exchange, scope: Scope) -> None:
    """Begin the request's span; what is sent on of its headers belongs to that."""
    headers: RawHeaders = scope["headers"]
    span = spans.request(
        f"{exchange.method} {exchange.route}",
        headers,
        {
            "http.request.method": exchange.method,
            "http.route": exchange.route,
            "url.path": exchange.path,
            "url.scheme": scope["scheme"],
            "memgpt.request.id": exchange.id,
        },
    )
    exchange.span = exchange.within = span
    scope["headers"] = span.headers(headers)


def _end_span(span: Span, exchange: Exchange) -> None:
    status = exchange.status
    if status:
        span.add({"http.response.status_code": status})
    span.end(str(status) if status >= _SERVER_ERRORS else "" if status else "cancelled")


def _route(path: str) -> str:
    """Return what of a path is fit for a label: clients may ask for any."""
    if path in _ROUTES:
        return path
    return next((f"{family}*" for family in (_TURNS, _OWNERS) if path.startswith(family)), _OTHER)
