"""Connecting: names, several addresses, TLS, and all that can fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from memgpt_proxy.backend.http1 import Http1Transport
from memgpt_proxy.backend.http1.dial import Address, alternating, race
from tests.backend.http1.server import DEADLINE, OK, Peer, always_ok, ask, get, serve
from tests.support.certificates import self_signed, server_tls
from tests.support.process import free_port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, with its key, for ``localhost`` alone; it is its own authority."""
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem", "localhost")


async def big_ok(peer: Peer) -> None:
    while True:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000))


async def test_tls(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        serve(big_ok, server_tls(certificate)) as server,
        Http1Transport(2, ssl_context=trusting) as transport,
    ):
        for _ in range(2):
            answer = await ask(transport, get(f"https://localhost:{server.port}/"))
            assert answer == (200, bytes(2_000_000))
        assert server.connections == 1


async def test_leaving_a_tls_response(certificate: Path) -> None:
    left = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await peer.gone()
        left.set()

    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        serve(handler, server_tls(certificate)) as server,
        Http1Transport(2, ssl_context=trusting) as transport,
    ):
        url = f"https://localhost:{server.port}/"
        response = await transport.handle_async_request(get(url))
        await response.aclose()
        await left.wait()


async def test_a_certificate_nobody_trusts_is_refused(certificate: Path) -> None:
    async with (
        serve(always_ok, server_tls(certificate)) as server,
        Http1Transport(1) as transport,
    ):
        for _ in range(2):
            with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
                await ask(transport, get(f"https://localhost:{server.port}/", pool=5))


async def test_a_certificate_of_another_name_is_refused(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        serve(always_ok, server_tls(certificate)) as server,
        Http1Transport(1, ssl_context=trusting) as transport,
    ):
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            await ask(transport, get(server.url(scheme="https")))


async def test_tls_with_a_server_that_speaks_none() -> None:
    async def handler(peer: Peer) -> None:
        peer.send(OK)
        await peer.gone()

    async with serve(handler) as server, Http1Transport(1) as transport:
        with pytest.raises(httpx.ConnectError) as caught:
            await ask(transport, get(server.url(scheme="https")))
    assert str(caught.value) == "the server does not speak TLS, perhaps http:// is meant"


async def silent_at_first(peer: Peer) -> None:
    """Never finish the first connection's TLS handshake."""
    if peer.number > 1:
        await always_ok(peer)
    await peer.gone()


async def test_connecting_times_out() -> None:
    async with serve(silent_at_first) as server, Http1Transport(1) as transport:
        request = get(server.url(scheme="https"), connect=0.1)
        with pytest.raises(httpx.ConnectTimeout) as raised:
            await ask(transport, request)
        assert raised.value.request is request
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


async def test_cancelled_while_connecting() -> None:
    reached = asyncio.Event()

    async def handler(peer: Peer) -> None:
        reached.set()
        await silent_at_first(peer)

    async with serve(handler) as server, Http1Transport(1) as transport:
        loop = asyncio.get_running_loop()
        call = loop.create_task(ask(transport, get(server.url(scheme="https"))))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


async def test_nobody_listens() -> None:
    async with Http1Transport(1) as transport:
        for _ in range(2):
            request = get(f"http://127.0.0.1:{free_port()}/", pool=5)
            with pytest.raises(httpx.ConnectError) as raised:
                await ask(transport, request)
            assert raised.value.request is request


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
async def test_a_name_that_does_not_resolve(host: str) -> None:
    async with Http1Transport(1) as transport:
        with pytest.raises(httpx.ConnectError, match=f"^no address was found for {host}: "):
            await ask(transport, get(f"http://{host}/"))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "/relative", "http:///path"])
async def test_what_is_no_web_address(url: str) -> None:
    async with Http1Transport(1) as transport:
        with pytest.raises(httpx.UnsupportedProtocol):
            await ask(transport, get(url))


def address(port: int, host: str = "127.0.0.1") -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))


async def test_an_address_that_does_not_answer_loses_the_race() -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listening.getsockname()[1]
        addresses = [address(deaf.getsockname()[1]), address(free_port()), address(port)]
        async with asyncio.timeout(DEADLINE):
            winner = stack.enter_context(await race(loop, addresses))
        assert winner.getpeername()[1] == port


async def test_every_address_refuses() -> None:
    loop = asyncio.get_running_loop()
    one, other = free_port(), free_port()
    with pytest.raises(OSError, match=r"; "):
        await race(loop, [address(one), address(other)])


async def test_a_race_called_off_leaves_nothing() -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        port = deaf.getsockname()[1]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(race(loop, [address(port), address(port)]), 0.4)


def test_families_take_turns() -> None:
    six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", n) for n in (1, 2, 3)]
    four = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", n) for n in (4, 5)]
    assert [one[4] for one in alternating([*six, *four])] == [1, 4, 2, 5, 3]


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    """``localhost`` may be ::1 first; the server listens on 127.0.0.1 alone."""
    async with serve(always_ok) as server, Http1Transport(1) as transport:
        assert await ask(transport, get(f"http://localhost:{server.port}/")) == (200, b"ok")


async def test_a_silent_connection_shows_signs_of_life() -> None:
    """Oftener than in four minutes, after which Azure forgets a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address: Address = (
            socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            server.getsockname(),
        )
        with await race(asyncio.get_running_loop(), [address]) as connected:
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                first = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                again = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
                assert max(first, again) < 240
