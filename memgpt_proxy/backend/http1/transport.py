"""The transport: httpx's requests in, its responses out."""

from __future__ import annotations

import ssl

import httpx

from memgpt_proxy.backend.http1.dial import Dialer, Origin
from memgpt_proxy.backend.http1.exchange import Exchange
from memgpt_proxy.backend.http1.message import Message, encode
from memgpt_proxy.backend.http1.pool import Pool

_PORTS = {"http": 80, "https": 443}


class Http1Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over connections that are kept and used again; for one event loop.

    Timeouts come with each request (httpx's ``timeout`` extension: connect, read, write,
    pool, and first_byte, which is for the head of a response and as long as read by default;
    in seconds; None waits for ever). Raises httpx's transport errors only, besides what a
    request's own stream raises.

    Args:
        max_connections: Open connections at the most, to all hosts together; who comes
            later waits in line.
        ssl_context: For https; None trusts what httpx trusts.
    """

    def __init__(self, max_connections: int, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._pool = Pool(max_connections, Dialer(ssl_context))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return when the response's head is there, its body streaming.

        A kept connection that the server closes as the request comes, before its first byte, is
        not an error: a request whose body is in hand is sent once more, on a new connection.
        """
        try:
            message = encode(request)
            exchange = await self._send(request, message, fresh=False)
            if exchange.stale and message.upload is None:
                exchange = await self._send(request, message, fresh=True)
            return exchange.response()
        except httpx.RequestError as error:
            error.request = request
            raise

    async def aclose(self) -> None:
        """Close every connection; requests that come later open new ones."""
        await self._pool.aclose()

    async def _send(self, request: httpx.Request, message: Message, *, fresh: bool) -> Exchange:
        timeouts = request.extensions.get("timeout") or {}
        origin = _origin(request.url)
        connection = None if fresh else self._pool.take(origin)
        if connection is None:
            connection = await self._pool.acquire(origin, timeouts, fresh=fresh)
        exchange = Exchange(request, connection, timeouts)
        connection.start(exchange, message.data)
        await exchange.head(message.upload)
        return exchange


def _origin(url: httpx.URL) -> Origin:
    scheme = url.scheme
    if scheme not in _PORTS:
        raise httpx.UnsupportedProtocol(f"Not http or https: {scheme!r}.")
    host = url.raw_host.decode("ascii")
    if not host:
        raise httpx.UnsupportedProtocol("There is no host in the address.")
    return scheme, host, url.port or _PORTS[scheme]
