"""An endpoint that answers by turns: raw ASGI, since these are the hot routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from memgpt_proxy.agent.request import ReplySink, TurnResult
from memgpt_proxy.api.admission import Admission, Admitted
from memgpt_proxy.api.body import ClientGone, while_client_stays
from memgpt_proxy.api.reading import Call, RequestReader
from memgpt_proxy.api.replies import Reply, send_error
from memgpt_proxy.errors import GatewayError, Stopping, log_failure
from memgpt_proxy.values import dataclass


class Turn(Protocol):
    """A turn on its way, with memory or without."""

    @property
    def degraded(self) -> bool:
        """Whether it runs without memory that it should have, or could not be stored."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens that it has used so far."""
        ...

    async def run(self, sink: ReplySink) -> TurnResult:
        """Run it to its end. Raises GatewayError."""
        ...

    async def settle(self) -> None:
        """Do what can wait until the client has its reply."""
        ...

    def keep_trace(self) -> None:
        """Keep what it did, for its owner."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A turn that is about to run, and what is to become of its reply."""

    turn: Turn
    reply: Callable[[Send], Reply]


Forward = Callable[[Send], Awaitable[None]]
"""Answers a request that no turn is to answer."""


class Dialect(Protocol):
    """One of the ways in which a client can ask a model, of OpenAI's."""

    async def open(self, call: Call) -> Opened | Forward:
        """Read a request and open what answers it. Raises GatewayError, ClientGone."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint of one dialect: an ASGI application.

    Attributes:
        keepalive: Seconds of silence after which a stream gets a comment.
    """

    dialect: Dialect
    admission: Admission
    reader: RequestReader
    keepalive: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            admitted = await self.admission.admit(scope["headers"])
            send = admitted.answering(send)
            opened = await self.dialect.open(self.reader.call(admitted.key, scope, receive))
        except ClientGone:
            return
        except GatewayError as error:
            log_failure(error)
            await send_error(send, error)
            return
        if isinstance(opened, Opened):
            await self._converse(opened.turn, opened.reply(send), admitted, receive)
        else:
            await opened(send)

    async def _converse(
        self, turn: Turn, reply: Reply, admitted: Admitted, receive: Receive
    ) -> None:
        # A client that leaves cancels the turn, which stores what was said by then.
        try:
            await while_client_stays(_answer(turn, reply), self._watch(reply, receive))
        except asyncio.CancelledError:  # by the server, which waits for us no longer
            await reply.fail(Stopping())
        else:
            with suppress(asyncio.CancelledError):  # likewise: a later turn will do it
                await admitted.spend(turn.tokens)
                await turn.settle()
        turn.keep_trace()

    async def _watch(self, reply: Reply, receive: Receive) -> None:
        """Keep the stream alive until the client leaves; then raise ClientGone."""
        while True:
            try:
                message = await self._awaited(reply, receive)
            except TimeoutError:
                await reply.beat()
                continue
            if message["type"] == "http.disconnect":
                raise ClientGone

    async def _awaited(self, reply: Reply, receive: Receive) -> Message:
        """Return what the client does next. Raises TimeoutError when it is time for a beat."""
        if not reply.beats:
            return await receive()
        async with asyncio.timeout(self.keepalive):
            return await receive()


async def _answer(turn: Turn, reply: Reply) -> None:
    try:
        await reply.finish(await turn.run(reply))
    except GatewayError as error:
        log_failure(error)
        await reply.fail(error)
