"""A request that memory is kept out of: the backend answers it alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from memgpt_proxy.agent.clean import CleanListener
from memgpt_proxy.agent.hearing import Hearing, broken, calls_in_text, check_whole
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.agent.profiles import Adapting, Profiles
from memgpt_proxy.agent.reply import Reply
from memgpt_proxy.agent.request import ReplySink, TurnRequest, TurnResult, asked_of
from memgpt_proxy.agent.steps import StepRequests, delivery
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.retrying import may_pass
from memgpt_proxy.errors import GatewayError
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.traits import Trait
from memgpt_proxy.wire.chat import Usage

log = logging.getLogger(__name__)

_NO_USAGE: Usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class TurnApart:
    """One step with nothing of ours in it; nothing is read, nothing is stored."""

    degraded = False

    def __init__(
        self,
        routes: Sequence[Route],
        request: TurnRequest,
        counter: TokenCounter,
        profiles: Profiles,
    ) -> None:
        self._routes = routes
        self._profiles = profiles
        self._go_to(routes[0])
        self._request = request
        alone = StepRequests(replace(request, clean=True), by_content=True, remembers=False)
        self._offer = replace(alone.offer, apart=True)
        self._reply = Reply(TextLimit((), None, counter))
        self._hearing = self._listening()
        self._begun = False

    def _go_to(self, route: Route) -> None:
        self._route = route
        self._adapting = Adapting(self._profiles, route)

    @property
    def tokens(self) -> int:
        """Tokens that it has used, as far as the backend has told."""
        usage = self._hearing.reader.usage or {}
        return (usage.get("prompt_tokens") or 0) + (usage.get("completion_tokens") or 0)

    async def run(self, sink: ReplySink) -> TurnResult:
        """Ask the backend, then others that may answer in its place; hand on what comes.

        Raises:
            GatewayError: None of them answered; the last one's.
        """
        for fallback in self._routes[1:]:
            try:
                return await self._answered(sink)
            except GatewayError as error:
                if self._begun or not may_pass(error):
                    raise
                log.warning("%r cannot answer (%s)", self._route.key, error.code)
            self._go_to(fallback)
        return await self._answered(sink)

    async def _answered(self, sink: ReplySink) -> TurnResult:
        """Ask one backend, otherwise where it refuses, and hand on what comes."""
        body, adapting = self._body(), self._adapting
        while True:
            self._hearing = self._listening()
            try:
                result = await self._ask(sink, adapting.write(body))
            except GatewayError as error:
                if not self._begun and adapting.learn(error, body):
                    continue
                if (cause := adapting.cause(error)) is not error:
                    raise cause from None
                raise
            adapting.succeeded()
            return result

    def _listening(self) -> Hearing:
        offer, profile = self._offer, self._adapting.profile
        written = Trait.NO_TOOLS in profile
        listener = CleanListener(self._reply, offer, holds=False, written=written)
        return Hearing(listener, offer, calls_in_text(offer, profile))

    async def _ask(self, sink: ReplySink, body: bytes) -> TurnResult:
        hearing = self._hearing
        async with self._route.backend.stream(body, self._request.headers) as chunks:
            async for several in chunks:
                deltas = hearing.hear(several)
                if hearing.reader.error is not None:
                    raise broken(hearing.reader, hearing.reader.error)
                if not self._begun:
                    self._begun = True
                    await sink.begin(hearing.reader, chunks.headers)
                await sink.write(deltas)
            check_whole(hearing, chunks)
        rest, step = hearing.close()
        await sink.write(rest)
        usage = hearing.reader.usage or _NO_USAGE
        reason = step.finish_reason or ("tool_calls" if self._reply.calls else "stop")
        return TurnResult(self._reply, reason, usage, degraded=False)

    async def settle(self) -> None:
        """There is nothing to do."""

    def keep_trace(self) -> None:
        """There is none."""

    def _body(self) -> bytes:
        request = asked_of(self._request, self._route)
        told = [{"role": "system", "content": request.application}] if request.application else []
        fields: dict[str, Any] = {
            **request.options,
            "model": request.model,
            "messages": [*told, *request.messages],
            **delivery(request),
        }
        if request.tools:
            fields["tools"] = list(request.tools)
        return orjson.dumps(fields)
