"""aiohttp's connections behind httpx's transport interface.

httpx's own pool costs more per request than everything else the gateway does
(``docs/performance.md``); its interface costs a few microseconds. So all that talks
to a backend speaks ``httpx.AsyncBaseTransport``, and this is the transport.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import lru_cache
from types import SimpleNamespace
from typing import cast

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL


class AiohttpTransport(httpx.AsyncBaseTransport):
    """An httpx transport over one aiohttp session, made on first use.

    Timeouts come with each request (httpx's ``timeout`` extension: connect, read,
    pool, in seconds). Raises httpx's transport errors only.

    Args:
        max_connections: Open connections at the most, to all hosts together.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return when the response's head is there, its body streaming.

        A kept connection that the server closed before its first byte is not an
        error: the request is sent once more, on another one.
        """
        try:
            return await self._send(request)
        except _StaleConnection:
            return await self._send(request)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, request: httpx.Request) -> httpx.Response:
        trace = SimpleNamespace(reused=False)
        try:
            response = await self._open().request(
                request.method,
                _url(str(request.url)),
                data=await _body(request),
                headers=CIMultiDict(request.headers.multi_items()),
                timeout=_timeout(request),
                allow_redirects=False,
                trace_request_ctx=trace,
            )
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if trace.reused and isinstance(request.stream, httpx.ByteStream):
                raise _StaleConnection from error
            raise _map_error(error, request) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _map_error(error, request) from error
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response, request),
            request=request,
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._max_connections,
                    keepalive_timeout=30,
                    ttl_dns_cache=60,
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                trace_configs=[_reuse_trace()],
            )
        return self._session


class _StaleConnection(Exception):
    """A kept connection turned out to be closed before anything was answered."""


class _Body(httpx.AsyncByteStream):
    """A response's body, one network read at a time."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while data := await content.readany():
                yield data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _map_error(error, self._request) from error

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


async def _body(request: httpx.Request) -> bytes | AsyncIterator[bytes]:
    if isinstance(request.stream, httpx.ByteStream):
        return await request.aread()
    return aiter(cast("httpx.AsyncByteStream", request.stream))


def _timeout(request: httpx.Request) -> aiohttp.ClientTimeout:
    given = request.extensions.get("timeout") or {}
    return _client_timeout(given.get("connect"), given.get("read"), given.get("pool"))


@lru_cache(maxsize=16)
def _client_timeout(
    connect: float | None, read: float | None, pool: float | None
) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=pool, sock_connect=connect, sock_read=read)


@lru_cache(maxsize=64)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


def _reuse_trace() -> aiohttp.TraceConfig:
    async def reused(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceConnectionReuseconnParams,
    ) -> None:
        context.trace_request_ctx.reused = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(reused)
    return trace


def _map_error(error: Exception, request: httpx.Request) -> httpx.TransportError:
    text = str(error) or type(error).__name__
    match error:
        case aiohttp.ConnectionTimeoutError():
            kind: type[httpx.TransportError] = httpx.ConnectTimeout
        case TimeoutError():
            kind = httpx.ReadTimeout
        case aiohttp.ClientConnectorError():
            kind = httpx.ConnectError
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            kind = httpx.RemoteProtocolError
        case aiohttp.InvalidURL():
            kind = httpx.UnsupportedProtocol
        case aiohttp.ClientOSError():
            kind = httpx.ReadError
        case _:
            kind = httpx.RemoteProtocolError
    return kind(text, request=request)
