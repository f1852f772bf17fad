"""``POST /v1/chat/completions``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from starlette.types import Send

from memgpt_proxy.agent.agent import Agent
from memgpt_proxy.api.chat_request import ChatRequest, parse_chat_request
from memgpt_proxy.api.endpoint import Forward, Opened, Turn
from memgpt_proxy.api.passthrough import Passthrough, Read, fields_of
from memgpt_proxy.api.reading import Call, RequestReader
from memgpt_proxy.api.replies import Reply, StreamedReply, WholeReply
from memgpt_proxy.errors import InvalidRequest


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
            return await self._apart(call)
        body = await self.reader.body(call)
        request = parse_chat_request(body, newest_only=call.told.newest_only)
        asked = self.reader.asked(call, body, request)
        if self.reader.is_task(request):
            return self._forward(call, Read(body))
        turn = await self.agent.open(asked)
        return Opened(turn, partial(_reply, request, turn))

    async def _apart(self, call: Call) -> Opened | Forward:
        """Forward a request as it came, unless it is about tools and its backend knows none."""
        if not self.reader.fits(call):
            return self._forward(call, None)
        body = await self.reader.body(call)
        fields = fields_of(body)
        if fields is None:  # for the backend to say what is wrong
            return self._forward(call, Read(body))
        if not self.agent.lacks_tools(fields["model"]):
            return self._forward(call, Read(body, fields, self.agent.mending))
        as_it_came = Read(body, fields)
        try:
            request = parse_chat_request(body)
            asked = replace(self.reader.asked(call, body, request), remembers=False)
        except InvalidRequest:  # for the backend to say
            return self._forward(call, as_it_came)
        if not asked.has_calls:
            return self._forward(call, as_it_came)
        turn = await self.agent.open(asked)
        return Opened(turn, partial(_reply, request, turn))

    def _forward(self, call: Call, read: Read | None) -> Forward:
        """Return what answers by the backend alone; the body has been read already if given."""

        async def forward(send: Send) -> None:
            await self.passthrough.forward(call.scope, call.receive, send, read)

        return forward


def _reply(request: ChatRequest, turn: Turn, send: Send) -> Reply:
    if request.stream:
        return StreamedReply(
            send, request.model, include_usage=request.include_usage, degraded=turn.degraded
        )
    return WholeReply(send, request.model)
