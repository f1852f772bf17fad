"""Pages of other origins: which of them a browser lets use the gateway (CORS).

By WHATWG's Fetch: a browser asks before it sends a key (a *preflight*, which has none itself), and
shows an answer to a page only where the answer names the page's origin. Cookies play no part here,
so none are ever allowed. A request that no page has made has no ``Origin`` and is not looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memgpt_proxy.api.authentication import bearer
from memgpt_proxy.api.replies import send_error
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import OriginNotAllowed

_PATHS = ("/v1/", "/memgpt")
"""What pages may use; probes and metrics are for operators."""
_ASKS = b"access-control-request-"
_SAYS = b"access-control-"
_ALLOWED_ORIGIN = b"access-control-allow-origin"
_ANY = b"*"
_ALWAYS = (
    (b"access-control-allow-methods", b"DELETE, GET, PATCH, POST, PUT"),
    (b"access-control-max-age", b"7200"),  # no browser keeps it longer than Chromium: two hours
    (b"content-length", b"0"),
)
_EXPOSED = (b"access-control-expose-headers", b"*")
"""Request ids, limits, waits, and what a backend adds: all, since cookies play no part."""
_VARIES = (b"vary", b"Origin")


def origin_of(headers: RawHeaders) -> bytes | None:
    """Return the origin of the page that makes a request; None for one that no page makes."""
    for name, value in headers:
        if name == b"origin":
            return value
    return None


class CrossOrigin:
    """Knows the origins whose pages may use the gateway.

    Args:
        origins: As browsers write them (``https://chat.example``); a port ``*`` is any port, or
            none, and ``*`` alone any origin.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        told = [origin.encode("ascii") for origin in origins]
        self._any = _ANY in told
        self._whole = frozenset(told)
        self._any_port = frozenset(each[:-2] for each in told if each.endswith(b":*"))

    def around(self, app: ASGIApp, scope: Scope, origin: bytes, send: Send) -> tuple[ASGIApp, Send]:
        """Return what answers a page's request in place of ``app``, and what sends its answer.

        A page that may not use the gateway gets nothing from it without a key: the browser would
        hide the answer, but a turn would have been taken. With a key there is a preflight before;
        with a name and a password, which a page's link may hold, there is none.
        """
        if not scope["path"].startswith(_PATHS):
            return app, send
        allowed = self._allows(origin)
        headers: RawHeaders = scope["headers"]
        if _is_preflight(scope["method"], headers):
            app = _agree if allowed else _refuse
        elif not allowed and not bearer(headers) and not _is_its_own(origin, headers):
            app = _refuse
        return app, _Answering(self._said(origin) if allowed else (_VARIES,), send)

    def _allows(self, origin: bytes) -> bool:
        if self._any or origin in self._whole:
            return True
        host, _, port = origin.rpartition(b":")
        return origin in self._any_port or (port.isdigit() and host in self._any_port)

    def _said(self, origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
        if self._any:
            return ((_ALLOWED_ORIGIN, _ANY), _EXPOSED)
        return ((_ALLOWED_ORIGIN, origin), _EXPOSED, _VARIES)


class _Answering:
    """Sends an answer with what browsers look for. Called for each chunk: no coroutine itself."""

    __slots__ = ("_said", "_send")

    def __init__(self, said: Iterable[tuple[bytes, bytes]], send: Send) -> None:
        self._said = said
        self._send = send

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            # A backend's own answer to the question who may use it is not ours.
            kept = (each for each in message.get("headers", ()) if not _is_a_backends(each[0]))
            message["headers"] = [*kept, *self._said]
        return self._send(message)


def _is_a_backends(name: bytes) -> bool:
    return name in (_ALLOWED_ORIGIN, _EXPOSED[0], b"access-control-allow-credentials")


async def _agree(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell a browser that the request it asks about may be made."""
    headers = [*_ALWAYS]
    for name, value in scope["headers"]:
        if name == _ASKS + b"headers":
            headers.append((_SAYS + b"allow-headers", value))
        elif name == _ASKS + b"private-network":  # a page from the internet asks for this machine
            headers.append((_SAYS + b"allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    origin = origin_of(scope["headers"]) or b""
    await send_error(send, OriginNotAllowed(origin.decode("ascii", "replace")))


def _is_preflight(method: str, headers: RawHeaders) -> bool:
    return method == "OPTIONS" and any(name == _ASKS + b"method" for name, _ in headers)


def _is_its_own(origin: bytes, headers: RawHeaders) -> bool:
    """Whether a page comes from where its request goes: browsers name its origin then too."""
    place = origin.partition(b"://")[2]
    return any(name == b"host" and value == place for name, value in headers)
