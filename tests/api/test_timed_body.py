"""A request's body that does not keep coming, by a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message

from memgpt_proxy.api.body import BODY_RATE, TimedBody, read_body
from memgpt_proxy.errors import RequestTimeout
from memgpt_proxy.telemetry.exchange import Exchange

LARGEST = 2**24
SECONDS = 30.0
SOON = 0.01
"""Seconds after which a client is given up that says nothing more, in these tests."""


class Client:
    """Sends parts of a body, each after some seconds of its clock; then it is silent."""

    def __init__(self, parts: Iterable[tuple[float, bytes]], *, ends: bool) -> None:
        self.now = 1000.0
        self._parts = list(parts)
        self._ends = ends

    async def __call__(self) -> Message:
        if not self._parts:
            await asyncio.Event().wait()
        seconds, body = self._parts.pop(0)
        self.now += seconds
        more = bool(self._parts) or not self._ends
        return {"type": "http.request", "body": body, "more_body": more}

    def clock(self) -> float:
        return self.now


def exchange(status: int = 0) -> Exchange:
    return Exchange("id", "POST", "/v1/x", "/v1/*", status=status)


def timed(client: Client, seconds: float = SECONDS) -> TimedBody:
    return TimedBody(client, exchange(), seconds, client.clock)


async def test_a_body_that_never_comes_is_given_up() -> None:
    with pytest.raises(RequestTimeout):
        await read_body(timed(Client([], ends=False), SOON), LARGEST)


async def test_a_body_that_stops_coming_is_given_up() -> None:
    begun = Client([(0.0, b"{" * 100 * BODY_RATE)], ends=False)
    with pytest.raises(RequestTimeout):
        await read_body(timed(begun, SOON), LARGEST)


async def test_a_body_that_dribbles_is_given_up() -> None:
    dribbling = Client([(10.0, b"x")] * 100, ends=True)
    with pytest.raises(RequestTimeout):
        await read_body(timed(dribbling), LARGEST)
    assert dribbling.now - 1000.0 == 40.0  # three tens are within 30 seconds and three bytes


async def test_a_large_body_may_take_its_time() -> None:
    part = b"x" * 20 * BODY_RATE
    slow = Client([(19.0, part)] * 50, ends=True)
    assert await read_body(timed(slow), LARGEST) == part * 50


async def test_a_part_makes_up_for_no_more_than_what_was_waited_for() -> None:
    fast = Client([(0.0, b"x" * 1000 * BODY_RATE), (31.0, b"x"), (1.0, b"x")], ends=True)
    with pytest.raises(RequestTimeout):
        await read_body(timed(fast), LARGEST)


async def test_what_comes_after_the_body_is_waited_for() -> None:
    client = Client([(0.0, b"{}")], ends=True)
    receive = timed(client, SOON)
    assert await read_body(receive, LARGEST) == b"{}"
    with pytest.raises(TimeoutError):  # the test's own: nobody gives it up
        async with asyncio.timeout(10 * SOON):
            await receive()


async def test_a_client_that_is_being_answered_is_given_up_as_one_that_left() -> None:
    client = Client([], ends=False)
    receive = TimedBody(client, exchange(status=200), SOON, client.clock)
    assert (await receive())["type"] == "http.disconnect"
