"""Sockets to a host: resolved, raced (RFC 8305, "happy eyeballs"), with TLS where asked for.

Where a proxy stands in between, the socket leads to that: to what is asked by https through a
tunnel, within which TLS is spoken as without it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import httpx

from memgpt_proxy.backend.http1.origin import Origin
from memgpt_proxy.backend.http1.proxies import DIRECTLY, Proxies, Proxy, ProxyFailed
from memgpt_proxy.backend.http1.tunnel import ProxyAnswer, open_tunnel

# How long an address has before the next is tried beside it (RFC 8305, section 8).
_HEAD_START = 0.25

_KEPT_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence before a sign of life, between two, and how many may stay without answer; the
second is the first's name on macOS."""

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""What ``getaddrinfo`` gives."""


class Dialer:
    """Opens connections.

    Args:
        ssl_context: For TLS; None makes httpx's default one when it is first needed.
        proxies: What leads to which host.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None, proxies: Proxies = DIRECTLY) -> None:
        self._ssl_context = ssl_context
        self._proxies = proxies

    async def dial(
        self, origin: Origin, protocol: asyncio.Protocol, *, timeout: float | None
    ) -> None:
        """Connect a protocol to an origin, or to its proxy where that takes requests for it.

        Args:
            timeout: For everything, in seconds: name, connection, tunnel and TLS handshake.

        Raises:
            httpx.ConnectError: It cannot be reached, or its certificate is not trusted.
            httpx.ConnectTimeout: It took too long.
            ProxyFailed: Its proxy cannot be reached, or refuses.
        """
        proxy = self._proxies.to(origin)
        way = "" if proxy is None else f" through {proxy}"
        try:
            async with asyncio.timeout(timeout):
                if proxy is None:
                    await self._connect(origin, protocol)
                elif origin[0] == "https":
                    await self._tunnel(proxy, origin, protocol)
                else:
                    await self._reach(proxy, protocol)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"The connection{way} took too long.") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(_why(error, origin) + way) from error

    async def _connect(self, origin: Origin, protocol: asyncio.Protocol) -> asyncio.Transport:
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        sock = await race(loop, alternating(addresses))
        tls, name = (self._tls(), host.rstrip(".")) if scheme == "https" else (None, None)
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=sock, ssl=tls, server_hostname=name
        )
        return transport

    async def _reach(self, proxy: Proxy, protocol: asyncio.Protocol) -> asyncio.Transport:
        try:
            return await self._connect(proxy.origin, protocol)
        except (OSError, UnicodeError) as error:
            raise ProxyFailed(f"{proxy} cannot be reached: {_why(error, proxy.origin)}") from error

    async def _tunnel(self, proxy: Proxy, origin: Origin, protocol: asyncio.Protocol) -> None:
        answer = ProxyAnswer()
        outer = await self._reach(proxy, answer)
        try:
            await open_tunnel(outer, answer, proxy, origin)
            inner = await asyncio.get_running_loop().start_tls(
                outer, protocol, self._tls(), server_hostname=origin[1].rstrip(".")
            )
        except BaseException:
            outer.abort()
            raise
        if inner is None:  # it ended as the handshake did
            raise ConnectionResetError("the connection was closed")
        protocol.connection_made(inner)

    def _tls(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = httpx.create_ssl_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context


def _why(error: OSError | UnicodeError, origin: Origin) -> str:
    """Return what an operator is told of an address that cannot be connected to."""
    said = str(error) or type(error).__name__
    match error:
        case socket.gaierror():
            return f"no address was found for {origin[1]}: {error.strerror}"
        case UnicodeError():
            return f"no address was found for {origin[1]}: {said}"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return "the server does not speak TLS, perhaps http:// is meant"
        case _:
            return said


def alternating(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses in their order, but by turns of the first one's family and others."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain(*zip_longest(first, others)) if address is not None]


async def race(loop: asyncio.AbstractEventLoop, addresses: Sequence[Address]) -> socket.socket:
    """Return a socket connected to the first address that answers; raises OSError if none does."""
    if len(addresses) == 1:
        return await _connect(loop, addresses[0])
    racers: set[asyncio.Task[socket.socket]] = set()
    errors: list[str] = []
    try:
        for address in addresses:
            racers.add(loop.create_task(_connect(loop, address)))
            if winner := await _winner(racers, errors, _HEAD_START):
                return winner
        while racers:
            if winner := await _winner(racers, errors, None):
                return winner
    finally:
        await _call_off(racers)
    raise OSError("; ".join(errors))


async def _winner(
    racers: set[asyncio.Task[socket.socket]], errors: list[str], patience: float | None
) -> socket.socket | None:
    """Wait until a racer arrives; take it, or those that failed, out of the race."""
    done, _ = await asyncio.wait(racers, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    for racer in done:
        racers.discard(racer)
        if (error := racer.exception()) is None:
            return racer.result()
        errors.append(str(error))
    return None


async def _call_off(racers: set[asyncio.Task[socket.socket]]) -> None:
    for racer in racers:
        racer.cancel()
    for arrived in await asyncio.gather(*racers, return_exceptions=True):
        if isinstance(arrived, socket.socket):
            arrived.close()


async def _connect(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    family, kind, protocol, _, target = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(sock)
        await loop.sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """Show life while nothing is sent: a whole answer may take minutes.

    Whoever translates addresses between here and there forgets a silent connection after some four
    minutes (Azure) to six (AWS), and tells neither end.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEPT_ALIVE.items():
        if option := getattr(socket, name, None):  # as far as the platform has them
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
