"""Through a proxy: tunnels, requests that it reads itself, and all that it can do wrong."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from memgpt_proxy.backend.http1 import Http1Transport, Proxies, ProxyFailed
from tests.backend.http1.server import OK, Handler, Peer, Server, always_ok, ask, get, post, serve
from tests.support.certificates import self_signed, server_tls, trusting
from tests.support.egress_proxy import EgressProxy
from tests.support.process import free_port, until

URL = "https://backend.example/v1"
"""What the proxy alone resolves."""

WHO = "user:secret"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls") / "backend.pem", "backend.example")


@pytest.fixture(scope="module")
def of_the_proxy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls") / "proxy.pem", "localhost")


@pytest.fixture
def proxy() -> Iterator[EgressProxy]:
    with EgressProxy({}) as started:
        yield started


def through(url: str, trusted: ssl.SSLContext | None = None, limit: int = 2) -> Http1Transport:
    return Http1Transport(limit, ssl_context=trusted, proxies=Proxies({"ALL_PROXY": url}))


@asynccontextmanager
async def tunnelled(
    handler: Handler, proxy: EgressProxy, certificate: Path, limit: int = 2
) -> AsyncIterator[tuple[Server, Http1Transport]]:
    """A server with TLS and a transport that reaches it through ``proxy``."""
    async with (
        serve(handler, server_tls(certificate)) as server,
        through(proxy.url, trusting(certificate), limit) as transport,
    ):
        proxy.hosts = {"backend.example": server.port}
        yield server, transport


async def big_ok(peer: Peer) -> None:
    while True:
        request = await peer.request()
        body = request.partition(b"\r\n\r\n")[2]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def test_several_requests_take_one_tunnel(proxy: EgressProxy, certificate: Path) -> None:
    sent = bytes(range(256)) * 8000
    async with tunnelled(big_ok, proxy, certificate) as (server, transport):
        for _ in range(3):
            assert await ask(transport, post(URL, sent)) == (200, sent)
        assert server.connections == proxy.connections == 1
    assert proxy.heads == [
        "CONNECT backend.example:443 HTTP/1.1\r\nHost: backend.example:443\r\n\r\n"
    ]
    await proxy.wait_until_left()


async def test_the_backend_gets_no_whole_url(proxy: EgressProxy, certificate: Path) -> None:
    heads: list[bytes] = []

    async def handler(peer: Peer) -> None:
        heads.append(await peer.head())
        peer.send(OK)

    async with tunnelled(handler, proxy, certificate) as (_, transport):
        await ask(transport, get(f"{URL}/models?limit=2"))
    assert heads == [b"GET /v1/models?limit=2 HTTP/1.1\r\nHost: backend.example\r\n\r\n"]


async def test_a_stream_comes_as_it_is_written(proxy: EgressProxy, certificate: Path) -> None:
    further = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"one", b"two"):
            peer.send(b"3\r\n%b\r\n" % part)
            await further.wait()
        peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with tunnelled(handler, proxy, certificate) as (_, transport):
        response = await transport.handle_async_request(get(URL))
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"one"
        further.set()
        assert [part async for part in body] == [b"two"]
        await response.aclose()


async def test_a_tunnel_that_the_backend_has_closed_is_no_error(
    proxy: EgressProxy, certificate: Path
) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        if peer.number > 1:
            await always_ok(peer)
        await peer.request()

    async with tunnelled(once, proxy, certificate) as (server, transport):
        for _ in range(3):
            assert await ask(transport, get(URL)) == (200, b"ok")
        assert server.connections == proxy.connections == 2


async def test_leaving_a_response_closes_its_tunnel(proxy: EgressProxy, certificate: Path) -> None:
    left = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await peer.gone()
        left.set()

    async with tunnelled(handler, proxy, certificate) as (_, transport):
        response = await transport.handle_async_request(get(URL))
        await response.aclose()
        await left.wait()
        await proxy.wait_until_left()


async def test_cancelled_while_it_waits(proxy: EgressProxy, certificate: Path) -> None:
    reached = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        reached.set()
        await peer.gone()

    async with tunnelled(handler, proxy, certificate) as (_, transport):
        call = asyncio.get_running_loop().create_task(ask(transport, get(URL)))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await proxy.wait_until_left()


@pytest.mark.parametrize("hangs", [True, False], ids=["proxy", "handshake"])
@pytest.mark.parametrize("how", ["timeout", "cancelled"])
async def test_a_tunnel_that_is_not_opened(
    hangs: bool, how: str, proxy: EgressProxy, certificate: Path
) -> None:
    """Neither leaves a connection behind, nor takes the place of another."""
    proxy.hangs = hangs

    async def silent(peer: Peer) -> None:
        await peer.gone()

    async with serve(silent) as server, through(proxy.url, limit=1) as transport:
        proxy.hosts = {"backend.example": server.port}
        if how == "timeout":
            expected = f"^The connection through the proxy at {proxy.url} took too long.$"
            with pytest.raises(httpx.ConnectTimeout, match=expected):
                await ask(transport, get(URL, connect=0.2))
        else:
            call = asyncio.get_running_loop().create_task(ask(transport, get(URL)))
            reached = proxy if hangs else server
            await asyncio.to_thread(until, lambda: reached.connections > 0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await proxy.wait_until_left()
    proxy.hangs = False
    async with tunnelled(always_ok, proxy, certificate, limit=1) as (_, again):
        assert await ask(again, get(URL, pool=5)) == (200, b"ok")


async def test_a_proxy_that_cuts_an_answer_off(proxy: EgressProxy, certificate: Path) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + bytes(20_000))
        await peer.gone()

    proxy.cuts_after = 15_000
    async with tunnelled(handler, proxy, certificate) as (_, transport):
        with pytest.raises(httpx.TransportError) as caught:
            await ask(transport, get(URL))
        assert not isinstance(caught.value, httpx.ConnectError | ProxyFailed)


async def test_a_certificate_is_checked_through_the_tunnel(
    proxy: EgressProxy, certificate: Path
) -> None:
    async with (
        serve(always_ok, server_tls(certificate)) as server,
        through(proxy.url) as untrusting,
        through(proxy.url, trusting(certificate)) as transport,
    ):
        proxy.hosts = {"backend.example": server.port, "other.example": server.port}
        for asked, url in ((untrusting, URL), (transport, "https://other.example/")):
            with pytest.raises(httpx.ConnectError, match=r"(?i)certificate.* through the proxy at"):
                await ask(asked, get(url))
        await proxy.wait_until_left()


async def test_a_backend_behind_it_that_speaks_no_tls(proxy: EgressProxy) -> None:
    async def handler(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.send(OK)
        await peer.gone()

    async with serve(handler) as server, through(proxy.url) as transport:
        proxy.hosts = {"backend.example": server.port}
        with pytest.raises(httpx.ConnectError, match=r"^the server does not speak TLS"):
            await ask(transport, get(URL))


async def test_user_and_password(certificate: Path) -> None:
    with EgressProxy({}, who=WHO) as proxy:
        async with serve(always_ok, server_tls(certificate)) as server:
            proxy.hosts = {"backend.example": server.port}
            url = proxy.url.replace("//", f"//{WHO}@")
            async with through(url, trusting(certificate)) as transport:
                assert await ask(transport, get(URL)) == (200, b"ok")
        assert "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in proxy.heads[0]


@pytest.mark.parametrize("url", [URL, "http://backend.example/v1"])
@pytest.mark.parametrize("who", ["", "user:wrong@"])
async def test_user_and_password_that_it_asks_for(url: str, who: str) -> None:
    with EgressProxy({}, who=WHO) as proxy:
        async with through(proxy.url.replace("//", f"//{who}")) as transport:
            request = get(url)
            with pytest.raises(ProxyFailed) as caught:
                await ask(transport, request)
        await proxy.wait_until_left()
    said = str(caught.value)
    port = 443 if url == URL else 80
    why = "does not take the user and password of its URL" if who else "asks for user and password"
    refusal = f"the proxy at {proxy.url} refuses the way to backend.example:{port}"
    assert said == f"{refusal}: it {why} (407)"
    assert "wrong" not in said
    assert caught.value.status == 407
    assert caught.value.request is request


@pytest.mark.parametrize("status", [301, 403, 502, 503])
async def test_a_proxy_that_refuses(status: int, proxy: EgressProxy) -> None:
    proxy.status = status
    refusal = f"the proxy at {proxy.url} refuses the way to backend.example:443 ({status})"
    async with through(proxy.url, limit=1) as transport:
        for _ in range(2):
            with pytest.raises(ProxyFailed) as caught:
                await ask(transport, get(URL, pool=5))
            assert str(caught.value) == refusal
            assert caught.value.status == status


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (b"SSH-2.0-server\r\n\r\n", "does not answer as a proxy does"),
        (b"HTTP/1.1 200 OK\r\n\r\nHello.", "goes on where the backend should speak"),
        (b"HTTP/1.1 200 OK\r\nX: " + bytes(70_000), "its answer's head is too large"),
    ],
)
async def test_what_is_no_proxy(says: bytes, expected: str, proxy: EgressProxy) -> None:
    proxy.says = says
    async with through(proxy.url) as transport:
        with pytest.raises(ProxyFailed, match=expected) as caught:
            await ask(transport, get(URL))
    assert caught.value.status == 0
    await proxy.wait_until_left()


async def test_a_proxy_that_closes(proxy: EgressProxy) -> None:
    """It knows no such host, and says nothing of it."""
    async with serve(always_ok) as server, through(proxy.url) as transport:
        proxy.hosts = {"other.example": server.port}
        with pytest.raises(ProxyFailed, match="gives no answer"):
            await ask(transport, get(URL))


@pytest.mark.parametrize("url", [URL, "http://backend.example/v1"])
async def test_a_proxy_that_is_not_there(url: str) -> None:
    place = f"http://127.0.0.1:{free_port()}"
    for proxy in (place, "http://no-such-host.invalid:3128"):
        async with through(proxy, limit=1) as transport:
            for _ in range(2):
                expected = f"^the proxy at {proxy} cannot be reached: "
                with pytest.raises(ProxyFailed, match=expected):
                    await ask(transport, get(url, pool=5))


async def test_an_https_proxy(certificate: Path, of_the_proxy: Path) -> None:
    """TLS within TLS, with bodies larger than any buffer."""
    sent = bytes(range(256)) * 8000
    both = trusting(certificate, of_the_proxy)
    with EgressProxy({}, tls=server_tls(of_the_proxy)) as proxy:
        async with (
            serve(big_ok, server_tls(certificate)) as server,
            through(f"https://localhost:{proxy.port}", both) as transport,
        ):
            proxy.hosts = {"backend.example": server.port}
            for _ in range(2):
                assert await ask(transport, post(URL, sent)) == (200, sent)
            assert proxy.connections == 1
        await proxy.wait_until_left()


async def test_the_certificate_of_an_https_proxy_is_checked(of_the_proxy: Path) -> None:
    with EgressProxy({}, tls=server_tls(of_the_proxy)) as proxy:
        place = f"https://localhost:{proxy.port}"
        async with through(place) as transport:
            expected = f"(?i)^the proxy at {place} cannot be reached: .*certificate"
            with pytest.raises(ProxyFailed, match=expected):
                await ask(transport, get(URL))


async def test_an_https_proxy_that_speaks_no_tls() -> None:
    async def handler(peer: Peer) -> None:
        peer.send(OK)
        await peer.gone()

    async with serve(handler) as server, through(server.url("", "https")) as transport:
        with pytest.raises(ProxyFailed, match="the server does not speak TLS"):
            await ask(transport, get(URL))


async def test_what_is_not_encrypted_is_read_by_the_proxy() -> None:
    """Asked in absolute form, on connections that are kept."""
    heads: list[bytes] = []

    async def handler(peer: Peer) -> None:
        while True:
            heads.append(await peer.request())
            peer.send(OK)

    async with (
        serve(handler) as proxy,
        through(f"http://{WHO}@127.0.0.1:{proxy.port}") as transport,
    ):
        for _ in range(2):
            request = post("http://backend.example:8000/v1/x?y=1", b"{}")
            assert await ask(transport, request) == (200, b"ok")
        assert proxy.connections == 1
    head = (
        b"POST http://backend.example:8000/v1/x?y=1 HTTP/1.1\r\nHost: backend.example:8000\r\n"
        b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert heads == [head, head]


async def test_a_refusal_of_such_a_request_is_an_answer() -> None:
    """Nobody can tell whether it is the proxy's or the backend's."""
    with EgressProxy({}) as proxy:
        proxy.status = 403
        async with through(proxy.url) as transport:
            assert await ask(transport, get("http://backend.example/v1")) == (403, b"no")


async def test_a_backend_that_answers_like_a_proxy(proxy: EgressProxy, certificate: Path) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 407 Odd\r\nContent-Length: 2\r\n\r\nok")
        await peer.gone()

    async with tunnelled(handler, proxy, certificate) as (_, transport):
        assert await ask(transport, get(URL)) == (407, b"ok")


async def test_hosts_that_need_no_proxy(proxy: EgressProxy) -> None:
    async with serve(always_ok) as server, through(proxy.url) as transport:
        for host in ("127.0.0.1", "localhost"):
            assert await ask(transport, get(f"http://{host}:{server.port}/")) == (200, b"ok")
    assert proxy.connections == 0
