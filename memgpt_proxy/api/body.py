"""The client's side of a connection: its request body, and whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any

from starlette.types import Message, Receive

from memgpt_proxy.errors import RequestTimeout, RequestTooLarge
from memgpt_proxy.telemetry.exchange import Exchange

BODY_SECONDS = 30.0
"""How long a request's body may keep its reader waiting; what comes makes up for it."""

BODY_RATE = 1024
"""Bytes that make up for a second: a body that comes more slowly is given up at some time."""


class ClientGone(Exception):
    """The client has closed the connection."""


class TimedBody:
    """What a client sends, given up where its request's body does not keep coming.

    Only waiting counts, not the time in which nobody asks for more: an upload may be held back by
    a slow backend. Called for each part: it is no coroutine itself.

    Args:
        receive: What the client sends; once its body is whole it is waited for as long as it takes.
        exchange: Where the answer to it has begun, a client that is given up is one that has left.
        seconds: How long it may keep its reader waiting, beyond what its bytes make up for.
        clock: Returns seconds that never go back.
    """

    __slots__ = ("_clock", "_exchange", "_left", "_receive", "_seconds", "_whole")

    def __init__(
        self,
        receive: Receive,
        exchange: Exchange,
        seconds: float = BODY_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._receive = receive
        self._exchange = exchange
        self._seconds = self._left = seconds
        self._clock = clock
        self._whole = False

    def __call__(self) -> Awaitable[Message]:
        """Return the next part. Raises RequestTimeout."""
        return self._receive() if self._whole else self._part()

    async def _part(self) -> Message:
        begun = self._clock()
        try:
            async with asyncio.timeout(self._left):
                message = await self._receive()
        except TimeoutError:
            return self._given_up()
        made_up = len(message.get("body", b"")) / BODY_RATE
        self._left = min(self._seconds, self._left - (self._clock() - begun) + made_up)
        self._whole = not message.get("more_body", False)
        return message if self._whole or self._left > 0 else self._given_up()

    def _given_up(self) -> Message:
        if self._exchange.status:
            return {"type": "http.disconnect"}
        raise RequestTimeout


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Args:
        limit: Its size at the most, in bytes.

    Raises:
        RequestTooLarge: It is larger.
        RequestTimeout: It does not keep coming.
        ClientGone: The client left before its end.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise RequestTooLarge(
                f"The request body is larger than the {limit // 2**20} MiB that this gateway "
                "takes (max_request_mib)."
            )
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else part


async def while_client_stays(
    work: Coroutine[Any, Any, None], watch: Coroutine[Any, Any, None]
) -> None:
    """Run ``work`` to its end, or cancel it when ``watch`` raises ClientGone."""
    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch)
            try:
                await work
            finally:
                watcher.cancel()
    except* ClientGone:
        pass  # there is nobody left to tell
