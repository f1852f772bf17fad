"""``POST /v1/chat/completions``: raw ASGI, since this is the hot route."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from memgpt_proxy.agent.agent import Agent
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.agent.running import RunningTurn
from memgpt_proxy.api.admission import Admission, Admitted
from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.api.body import ClientGone, read_body, while_client_stays
from memgpt_proxy.api.chat_request import ChatRequest, check_messages, parse_chat_request
from memgpt_proxy.api.idempotency import IdempotencyKeys
from memgpt_proxy.api.passthrough import Passthrough
from memgpt_proxy.api.replies import Reply, StreamedReply, WholeReply, send_error
from memgpt_proxy.api.request_headers import Memory, RequestHeaders, ToldByHeaders
from memgpt_proxy.api.ui_tasks import TaskPrompts
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import GatewayError, Stopping, log_failure
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.names import Stop, known
from memgpt_proxy.stores.records import ROOT, Namespace


@dataclass(frozen=True, slots=True)
class _Apart:
    """A request that memory is kept out of.

    Attributes:
        body: Its body, if that has been read already.
    """

    body: bytes | None


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The endpoint: an ASGI application.

    Attributes:
        passthrough: Takes the requests that memory is kept out of.
        beginnings: What is known of earlier requests, so that it need not be checked again.
        max_body: Bytes of a request at the most.
        keepalive: Seconds of silence after which a stream gets a comment.
    """

    agent: Agent
    admission: Admission
    authenticator: Authenticator
    passthrough: Passthrough
    beginnings: Beginnings
    headers: RequestHeaders
    tasks: TaskPrompts
    idempotency_keys: IdempotencyKeys
    max_body: int
    keepalive: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            admitted = await self.admission.admit(scope["headers"])
            send = admitted.answering(send)
            opened = await self._open(admitted.key, scope, receive)
        except ClientGone:
            return
        except GatewayError as error:
            log_failure(error)
            await send_error(send, error)
            return
        if isinstance(opened, _Apart):
            await self.passthrough.forward(scope, receive, send, opened.body)
        else:
            await self._converse(*opened, admitted, receive, send)

    async def _open(
        self, key: bytes, scope: Scope, receive: Receive
    ) -> tuple[ChatRequest, RunningTurn] | _Apart:
        read = await self._read(key, scope, receive)
        if isinstance(read, _Apart):
            return read
        request, asked = read
        return request, await self.agent.open(asked)

    async def _read(
        self, api_key: bytes, scope: Scope, receive: Receive
    ) -> tuple[ChatRequest, TurnRequest] | _Apart:
        headers = scope["headers"]
        told = self.headers.read(headers)
        if told.is_task or told.memory is Memory.OFF:
            return _Apart(None)
        body = await read_body(receive, self.max_body)
        request = parse_chat_request(body, newest_only=told.newest_only)
        namespace = self.authenticator.namespace(api_key, request.user)
        root = told.conversation.root if told.conversation else ROOT
        stops = self.beginnings.stops(namespace, root, request.messages)
        check_messages(request, known(stops))
        if self.tasks.fit(request):
            return _Apart(body)
        key = told.idempotency_key
        if key and self.idempotency_keys.repeats(namespace, key, body):
            told = replace(told, is_retry=True)
        return request, _asked(namespace, headers, told, request, stops)

    async def _converse(
        self,
        request: ChatRequest,
        turn: RunningTurn,
        admitted: Admitted,
        receive: Receive,
        send: Send,
    ) -> None:
        reply = _reply(request, turn, send)
        # A client that leaves cancels the turn, which stores what was said by then.
        try:
            await while_client_stays(self._answer(turn, reply), self._watch(reply, receive))
        except asyncio.CancelledError:  # by the server, which waits for us no longer
            await reply.fail(Stopping())
        else:
            with suppress(asyncio.CancelledError):  # likewise: a later turn will do it
                await admitted.spend(turn.tokens)
                await turn.settle()
        turn.keep_trace()

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


def _asked(
    namespace: Namespace,
    headers: RawHeaders,
    told: ToldByHeaders,
    request: ChatRequest,
    stops: Sequence[Stop],
) -> TurnRequest:
    return TurnRequest(
        namespace=namespace,
        model=request.model,
        application=request.application,
        messages=request.messages,
        options=request.options,
        tools=request.tools,
        stop=request.stop,
        max_tokens=request.max_tokens,
        clean=request.clean,
        alone=request.alone,
        whole=request.whole,
        headers=headers,
        conversation=told.conversation,
        writes=told.memory is Memory.ON,
        is_retry=told.is_retry,
        stops=stops,
    )


def _reply(request: ChatRequest, turn: RunningTurn, send: Send) -> Reply:
    if request.stream:
        return StreamedReply(
            send, request.model, include_usage=request.include_usage, degraded=turn.degraded
        )
    return WholeReply(send, request.model)
