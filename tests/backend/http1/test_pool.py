"""Connections: kept, counted, waited for, replaced, left in any moment without a leak."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from memgpt_proxy.backend.http1 import Http1Transport, exchange, pool
from memgpt_proxy.backend.http1.dial import Dialer
from tests.backend.http1.server import (
    OK,
    Parts,
    Peer,
    always_ok,
    answering,
    ask,
    connected,
    get,
    items,
    post,
    serve,
)

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"


async def test_the_connection_used_last_is_used_first() -> None:
    async def handler(peer: Peer) -> None:
        while True:
            await peer.request()
            arrived.release()
            await gate.wait()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % peer.number)

    arrived, gate = asyncio.Semaphore(0), asyncio.Event()
    async with connected(handler) as (server, transport):
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(ask(transport, get(server.url())))
            for _ in range(2):
                await arrived.acquire()
            gate.set()
        used = {(await ask(transport, get(server.url())))[1] for _ in range(4)}
        assert len(used) == 1
        assert server.connections == 2


async def close_half(peer: Peer) -> None:
    peer.writer.write_eof()


async def say_more(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")


@pytest.mark.parametrize("leave", [close_half, say_more])
async def test_an_idle_connection_is_dropped_when_it_speaks_or_closes(
    leave: Callable[[Peer], Awaitable[None]],
) -> None:
    """An upload cannot be sent twice: it succeeds only on a connection that is not stale."""
    dropped, idle = asyncio.Event(), asyncio.Event()

    async def handler(peer: Peer) -> None:
        if peer.number > 1:
            await peer.head()
            await peer.reader.readuntil(b"0\r\n\r\n")
            peer.send(OK)
            await peer.gone()
            return
        await peer.request()
        peer.send(OK)
        await idle.wait()
        await leave(peer)
        await peer.gone()
        dropped.set()

    async with connected(handler, limit=1) as (server, transport):
        await ask(transport, get(server.url()))
        idle.set()
        await dropped.wait()
        assert await ask(transport, post(server.url(), Parts(b"a"))) == (200, b"ok")


async def test_an_idle_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_AT_MOST", 0.05)
    closed = asyncio.Event()

    async def handler(peer: Peer) -> None:
        for _ in range(3):
            await peer.request()
            peer.send(OK)
        await peer.gone()
        closed.set()

    async with connected(handler) as (server, transport):
        for _ in range(3):
            await ask(transport, get(server.url()))
        await closed.wait()
        assert server.connections == 1


async def leaving_on_the_second(peer: Peer) -> None:
    """Answer one request; read the next, and close without a byte. Later ones are answered."""
    if peer.number > 1:
        await always_ok(peer)
    await peer.request()
    peer.send(OK)
    await peer.head()


@pytest.mark.parametrize("limit", [1, 4])
async def test_a_stale_connection_is_replaced_once(limit: int) -> None:
    async with connected(leaving_on_the_second, limit) as (server, transport):
        for _ in range(3):
            assert await ask(transport, post(server.url(), b"abc")) == (200, b"ok")
        assert server.connections == 2


async def test_what_a_server_may_have_worked_on_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that ends long behind its request has not gone stale while nobody used it."""
    monkeypatch.setattr(exchange, "STALE_SECONDS", 0.0)  # however soon, it is too late
    async with connected(leaving_on_the_second) as (server, transport):
        await ask(transport, get(server.url()))
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await ask(transport, post(server.url(), b"abc"))
        assert server.connections == 1


async def test_what_cannot_be_sent_twice_is_not() -> None:
    async with connected(leaving_on_the_second) as (server, transport):
        await ask(transport, get(server.url()))
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await ask(transport, post(server.url(), Parts(b"a")))
        assert server.connections == 1


async def test_a_new_connection_that_closes_is_an_error() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()

    async with connected(handler) as (server, transport):
        request = get(server.url())
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as raised:
            await ask(transport, request)
        assert raised.value.request is request
        assert server.connections == 1


async def test_a_request_whose_answer_began_is_not_sent_again() -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        await peer.request()
        peer.send(b"HTTP/1.1 ")
        await peer.writer.drain()
        peer.writer.close()
        await peer.gone()

    async with connected(handler) as (server, transport):
        await ask(transport, get(server.url()))
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, get(server.url()))
        assert server.connections == 1


async def test_who_waits_is_served_in_order_over_the_connections_allowed() -> None:
    order: list[bytes] = []

    async def handler(peer: Peer) -> None:
        while True:
            order.append((await peer.request()).split()[1])
            peer.send(OK)

    async with connected(handler, limit=1) as (server, transport):
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(ask(transport, get(server.url(f"/{number}"))))
        assert order == [b"/%d" % number for number in range(20)]
        assert server.connections == 1


async def test_waiting_for_a_connection_times_out() -> None:
    async with connected(answering(STREAM, OK), limit=1) as (server, transport):
        held = await transport.handle_async_request(get(server.url()))
        request = get(server.url(), pool=0.05)
        with pytest.raises(httpx.PoolTimeout) as raised:
            await ask(transport, request)
        assert raised.value.request is request
        await held.aclose()
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


async def test_an_idle_connection_of_another_origin_makes_room() -> None:
    async with (
        serve(always_ok) as one,
        serve(always_ok) as other,
        Http1Transport(1) as transport,
    ):
        for server in (one, other, one, other):
            assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")
        assert one.connections == other.connections == 2


async def test_a_busy_connection_makes_room_for_another_origin_when_it_is_done() -> None:
    async with (
        serve(answering(STREAM)) as one,
        serve(always_ok) as other,
        Http1Transport(1) as transport,
    ):
        held = await transport.handle_async_request(get(one.url()))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(ask(transport, get(other.url(), pool=5)))
            await held.aclose()
        assert waiting.result() == (200, b"ok")


async def cancel_when(call: Awaitable[object], moment: asyncio.Event) -> None:
    task = asyncio.ensure_future(call)  # noqa: TID251 - its error is awaited below
    await moment.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", STREAM])
async def test_cancelled_while_waiting_for_head_or_body(sent: bytes) -> None:
    reached, left = asyncio.Event(), asyncio.Event()

    async def handler(peer: Peer) -> None:
        if peer.number > 1:
            await always_ok(peer)
        await peer.request()
        peer.send(sent)
        reached.set()
        await peer.gone()
        left.set()

    async with connected(handler, limit=1) as (server, transport):
        await cancel_when(ask(transport, get(server.url())), reached)
        await left.wait()
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


async def test_cancelled_while_a_large_body_is_written() -> None:
    reached = asyncio.Event()

    async def handler(peer: Peer) -> None:
        if peer.number > 1:
            await always_ok(peer)
        await peer.head()
        reached.set()
        await peer.gone()

    async with connected(handler, limit=1) as (server, transport):
        await cancel_when(ask(transport, post(server.url(), bytes(32 * 2**20))), reached)
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


async def test_cancelled_while_waiting_for_a_connection() -> None:
    async with connected(answering(STREAM, OK), limit=1) as (server, transport):
        held = await transport.handle_async_request(get(server.url()))
        moment = asyncio.Event()
        asyncio.get_running_loop().call_soon(moment.set)
        await cancel_when(ask(transport, get(server.url())), moment)
        await held.aclose()
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


@pytest.mark.parametrize("ticks", range(12))
async def test_cancelled_at_any_tick(ticks: int) -> None:
    """Whatever a request is waiting for after so many turns of the loop, its place comes free."""
    async with connected(always_ok, limit=1) as (server, transport):
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(ask(transport, get(server.url()))) for _ in range(4)]
            for _ in range(ticks):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
        assert all(call.cancelled() or call.result() == (200, b"ok") for call in calls)
        assert not calls[1].cancelled()
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


async def test_closing_ends_what_runs_or_waits_and_later_requests_connect_again() -> None:
    async with connected(answering(STREAM, OK), limit=1) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"a"
        waiting = asyncio.get_running_loop().create_task(ask(transport, get(server.url())))
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(httpx.ReadError):
            await anext(body)
        with pytest.raises(httpx.ConnectError):
            await waiting
        assert await ask(transport, get(server.url())) == (200, b"ok")
        await transport.aclose()
        await transport.aclose()
        assert server.connections == 2


async def test_cancelled_while_reading_the_body() -> None:
    left = asyncio.Event()

    async def handler(peer: Peer) -> None:
        if peer.number > 1:
            await always_ok(peer)
        await peer.request()
        peer.send(STREAM)
        await peer.gone()
        left.set()

    async with connected(handler, limit=1) as (server, transport):
        response = await transport.handle_async_request(get(server.url()))
        body = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(body) == b"a"
        reading = asyncio.get_running_loop().create_task(items(response))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await left.wait()
        assert await ask(transport, get(server.url(), pool=5)) == (200, b"ok")


@pytest.mark.parametrize("alive", [True, False])
async def test_cancelled_in_the_moment_of_being_served(alive: bool) -> None:
    async with serve(always_ok) as server:
        connections = pool.Pool(1, Dialer(None))
        origin = ("http", "127.0.0.1", server.port)
        held = await connections.acquire(origin, {}, fresh=False)
        loop = asyncio.get_running_loop()
        waiting = loop.create_task(connections.acquire(origin, {}, fresh=False))
        await asyncio.sleep(0)
        if alive:
            connections.released(held)
        else:
            held.abort()
            connections.lost(held)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert connections.take(origin) is (held if alive else None)
        if not alive:
            await connections.acquire(origin, {"pool": 5}, fresh=False)
        await connections.aclose()


@pytest.mark.slow
async def test_closed_while_connecting() -> None:
    reached = asyncio.Event()

    async def handler(peer: Peer) -> None:
        reached.set()
        await peer.gone()

    async with serve(handler) as server:
        transport = Http1Transport(1)
        call = asyncio.get_running_loop().create_task(
            ask(transport, get(server.url(scheme="https"), connect=3))
        )
        await reached.wait()
        await transport.aclose()
        with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
            await call
