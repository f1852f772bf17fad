"""``POST /v1/chat/completions``: raw ASGI, since this is the hot route."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from memgpt_proxy.agent.agent import Agent
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.agent.running import RunningTurn
from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.api.body import ClientGone, read_body, while_client_stays
from memgpt_proxy.api.chat_request import ChatRequest, parse_chat_request
from memgpt_proxy.api.replies import Reply, StreamedReply, WholeReply, send_error
from memgpt_proxy.errors import GatewayError, Stopping, log_failure


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The endpoint: an ASGI application.

    Attributes:
        max_body: Bytes of a request at the most.
        keepalive: Seconds of silence after which a stream gets a comment.
    """

    agent: Agent
    authenticator: Authenticator
    max_body: int
    keepalive: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            request, turn = await self._open(scope, receive)
        except ClientGone:
            return
        except GatewayError as error:
            log_failure(error)
            await send_error(send, error)
            return
        reply = _reply(request, turn, send)
        # A client that leaves cancels the turn, which stores what was said by then.
        try:
            await while_client_stays(self._answer(turn, reply), self._watch(reply, receive))
        except asyncio.CancelledError:  # by the server, which waits for us no longer
            await reply.fail(Stopping())
            return
        with suppress(asyncio.CancelledError):  # likewise: a later turn will do it
            await turn.settle()

    async def _open(self, scope: Scope, receive: Receive) -> tuple[ChatRequest, RunningTurn]:
        headers = scope["headers"]
        key = self.authenticator.check(headers)
        request = parse_chat_request(await read_body(receive, self.max_body))
        asked = TurnRequest(
            namespace=self.authenticator.namespace(key, request.user),
            model=request.model,
            application=request.application,
            messages=request.messages,
            options=request.options,
            tools=request.tools,
            stop=request.stop,
            max_tokens=request.max_tokens,
            clean=request.clean,
            headers=headers,
        )
        return request, await self.agent.open(asked)

    async def _answer(self, turn: RunningTurn, reply: Reply) -> None:
        try:
            await reply.finish(await turn.run(reply))
        except GatewayError as error:
            log_failure(error)
            await reply.fail(error)

    async def _watch(self, reply: Reply, receive: Receive) -> None:
        """Keep the stream alive until the client leaves; then raise ClientGone."""
        silence = self.keepalive if reply.beats else None
        while True:
            try:
                async with asyncio.timeout(silence):
                    message = await receive()
            except TimeoutError:
                await reply.beat()
                continue
            if message["type"] == "http.disconnect":
                raise ClientGone


def _reply(request: ChatRequest, turn: RunningTurn, send: Send) -> Reply:
    if request.stream:
        return StreamedReply(
            send, request.model, include_usage=request.include_usage, degraded=turn.degraded
        )
    return WholeReply(send, request.model)
