"""A request that memory is kept out of: the backend answers it alone."""

from __future__ import annotations

from typing import Any

import orjson

from memgpt_proxy.agent.clean import CleanListener
from memgpt_proxy.agent.hearing import broken, check_whole, heard
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.agent.profiles import rewritten
from memgpt_proxy.agent.reply import Offer, Reply
from memgpt_proxy.agent.request import ReplySink, TurnRequest, TurnResult
from memgpt_proxy.agent.tool_choice import tool_name
from memgpt_proxy.backend.client import Route
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.traits import Profile, Trait
from memgpt_proxy.wire.chat import Usage
from memgpt_proxy.wire.step import StepReader

_NO_USAGE: Usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

_OF_FUNCTIONS = {Trait.NO_TOOLS, Trait.FUNCTIONS}
"""Nobody reads calls out of this answer's text: a backend without tools says so itself."""


class TurnApart:
    """One step with nothing of ours in it; nothing is read, nothing is stored."""

    degraded = False

    def __init__(
        self, route: Route, request: TurnRequest, counter: TokenCounter, profile: Profile
    ) -> None:
        self._route = route
        self._profile = profile - _OF_FUNCTIONS if request.tools else profile
        self._request = request
        self._reply = Reply(TextLimit((), None, counter))
        self._reader = StepReader()

    @property
    def tokens(self) -> int:
        """Tokens that it has used, as far as the backend has told."""
        usage = self._reader.usage or {}
        return (usage.get("prompt_tokens") or 0) + (usage.get("completion_tokens") or 0)

    async def run(self, sink: ReplySink) -> TurnResult:
        """Ask the backend, handing on what comes. Raises GatewayError."""
        reader, begun = self._reader, False
        names = frozenset(map(tool_name, self._request.tools))
        listener = CleanListener(self._reply, Offer((), names, clean=True), holds=False)
        async with self._route.backend.stream(self._body(), self._request.headers) as chunks:
            async for several in chunks:
                deltas = heard(several, reader, listener)
                if reader.error is not None:
                    raise broken(reader, reader.error)
                if not begun:
                    begun = True
                    await sink.begin(reader, chunks.headers)
                await sink.write(deltas)
            check_whole(reader, chunks)
        rest, step = listener.close(reader)
        await sink.write(rest)
        usage = reader.usage or _NO_USAGE
        return TurnResult(self._reply, step.finish_reason or "stop", usage, degraded=False)

    async def settle(self) -> None:
        """There is nothing to do."""

    def keep_trace(self) -> None:
        """There is none."""

    def _body(self) -> bytes:
        request = self._request
        told = [{"role": "system", "content": request.application}] if request.application else []
        fields: dict[str, Any] = {
            **request.options,
            "model": self._route.model,
            "messages": [*told, *request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.tools:
            fields["tools"] = list(request.tools)
        return rewritten(orjson.dumps(fields), self._profile)
