"""``POST /v1/chat/completions``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from starlette.types import Send

from memgpt_proxy.agent.agent import Agent
from memgpt_proxy.api.chat_request import ChatRequest, parse_chat_request
from memgpt_proxy.api.endpoint import Forward, Opened, Turn
from memgpt_proxy.api.passthrough import Passthrough
from memgpt_proxy.api.reading import Call, RequestReader
from memgpt_proxy.api.replies import Reply, StreamedReply, WholeReply


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The dialect that backends speak, too.

    Attributes:
        passthrough: Takes the requests that memory is kept out of.
    """

    agent: Agent
    reader: RequestReader
    passthrough: Passthrough

    async def open(self, call: Call) -> Opened | Forward:
        """Read a request and open its turn, or forward it as it came."""
        if call.is_apart:
            return self._forward(call, None)
        body = await self.reader.body(call)
        request = parse_chat_request(body, newest_only=call.told.newest_only)
        asked = self.reader.asked(call, body, request)
        if self.reader.is_task(request):
            return self._forward(call, body)
        turn = await self.agent.open(asked)
        return Opened(turn, partial(_reply, request, turn))

    def _forward(self, call: Call, body: bytes | None) -> Forward:
        """Return what answers by the backend alone; ``body`` has been read already if given."""

        async def forward(send: Send) -> None:
            await self.passthrough.forward(call.scope, call.receive, send, body)

        return forward


def _reply(request: ChatRequest, turn: Turn, send: Send) -> Reply:
    if request.stream:
        return StreamedReply(
            send, request.model, include_usage=request.include_usage, degraded=turn.degraded
        )
    return WholeReply(send, request.model)
