"""The transport: httpx's requests in, its responses out."""

from __future__ import annotations

import ssl

import httpx

from memgpt_proxy.backend.http1.dial import Dialer
from memgpt_proxy.backend.http1.exchange import Exchange
from memgpt_proxy.backend.http1.message import Message, encode
from memgpt_proxy.backend.http1.origin import Origin, origin_of
from memgpt_proxy.backend.http1.pool import Pool
from memgpt_proxy.backend.http1.proxies import DIRECTLY, Proxies, Proxy


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
        proxies: What leads to which host; none by default.
    """

    def __init__(
        self,
        max_connections: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxies: Proxies = DIRECTLY,
    ) -> None:
        self._pool = Pool(max_connections, Dialer(ssl_context, proxies))
        self._proxies = proxies

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return when the response's head is there, its body streaming.

        A kept connection that the server closes as the request comes, before its first byte, is
        not an error: a request whose body is in hand is sent once more, on a new connection.
        """
        try:
            origin = origin_of(request.url)
            proxy = self._reader(origin)
            message = encode(request, proxy)
            exchange = await self._send(origin, request, message, fresh=False)
            if exchange.stale and message.upload is None:
                exchange = await self._send(origin, request, message, fresh=True)
            if proxy is not None and exchange.status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
                await exchange.aclose()
                raise proxy.refusal(origin, exchange.status)
            return exchange.response()
        except httpx.RequestError as error:
            error.request = request
            raise

    async def aclose(self) -> None:
        """Close every connection; requests that come later open new ones."""
        await self._pool.aclose()

    def _reader(self, origin: Origin) -> Proxy | None:
        """Return the proxy that reads what is sent to an origin; of TLS it reads nothing."""
        return self._proxies.to(origin) if origin[0] == "http" else None

    async def _send(
        self, origin: Origin, request: httpx.Request, message: Message, *, fresh: bool
    ) -> Exchange:
        timeouts = request.extensions.get("timeout") or {}
        connection = None if fresh else self._pool.take(origin)
        if connection is None:
            connection = await self._pool.acquire(origin, timeouts, fresh=fresh)
        exchange = Exchange(request, connection, timeouts)
        connection.start(exchange, message.data)
        await exchange.head(message.upload)
        return exchange
