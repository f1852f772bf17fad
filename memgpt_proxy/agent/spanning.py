"""Spans of a turn, its steps and its calls, by OpenTelemetry's conventions; never a text."""

from __future__ import annotations

from memgpt_proxy.agent.measuring import Used
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.telemetry.exchange import Exchange
from memgpt_proxy.telemetry.spans import Attributes, Kind, Span, Spans
from memgpt_proxy.wire.chat import Usage

_AGENT = "memgpt"
_PROVIDER = "openai"
"""The conventions' word for this format, whoever speaks it."""
_LONGEST_NAME = 100


class TurnSpans:
    """The spans of one turn. Each method takes what its name says has happened.

    Args:
        within: The exchange that it belongs to, whose innermost span is kept up to date.
        model: As the client names it.
    """

    def __init__(self, spans: Spans, within: Exchange, parent: Span, model: str) -> None:
        self._spans = spans
        self._exchange = within
        self._parent = parent
        self._model = model[:_LONGEST_NAME]
        self._turn = self._step = self._call = self._within(
            f"invoke_agent {_AGENT}",
            Kind.INTERNAL,
            "invoke_agent",
            {"gen_ai.agent.name": _AGENT, "gen_ai.request.model": self._model},
        )

    @classmethod
    def of(cls, spans: Spans | None, exchange: Exchange | None, model: str) -> TurnSpans | None:
        """Return the spans of a turn that begins; None where nobody wants them."""
        if spans is None or exchange is None or exchange.within is None:
            return None
        return cls(spans, exchange, exchange.within, model)

    def step_began(self, server: Attributes, *, streamed: bool) -> None:
        told = {**_asked(self._model, streamed=streamed), **server}
        self._step = self._within(f"chat {self._model}", Kind.CLIENT, "chat", told)

    def first_chunk_came(self, seconds: float) -> None:
        """The backend has begun to answer a step, so many seconds after it was asked."""
        self._step.add({"gen_ai.response.time_to_first_chunk": seconds})

    def headers(self, headers: RawHeaders) -> RawHeaders:
        """Return the headers of a step's request, given the client's."""
        return self._step.headers(headers)

    def step_ended(self, usage: Usage, finish_reason: str | None, model: str | None) -> None:
        self._step.add(used_tokens(usage))
        if model is not None:
            self._step.add({"gen_ai.response.model": model[:_LONGEST_NAME]})
        if finish_reason is not None:
            self._step.add({"gen_ai.response.finish_reasons": [finish_reason]})
        self._end(self._step)

    def step_failed(self, error: str) -> None:
        self._end(self._step, error)

    def call_began(self, function: str) -> None:
        self._call = self._within(
            f"execute_tool {function}",
            Kind.INTERNAL,
            "execute_tool",
            {"gen_ai.tool.name": function, "gen_ai.tool.type": "function"},
        )

    def call_ended(self, *, failed: bool) -> None:
        self._end(self._call, "failed" if failed else "")

    def ended(self, error: str, usage: Usage | None, *, degraded: bool) -> None:
        """The turn has ended; ``error`` is empty where it has come to a reply."""
        if self._exchange.within not in (self._turn, self._parent):
            self._end(self._call, error)  # it was broken off amid a call
        self._turn.add({"memgpt.degraded": degraded, **_tokens(Used.of(usage or {}))})
        self._turn.end(error)
        self._exchange.within = self._parent

    def _within(self, name: str, kind: Kind, operation: str, more: Attributes) -> Span:
        told = {"gen_ai.operation.name": operation, **more}
        parent = self._parent if operation == "invoke_agent" else self._turn
        span = self._spans.begin(name, kind, parent, told)
        self._exchange.within = span
        return span

    def _end(self, span: Span, error: str = "") -> None:
        span.end(error)
        self._exchange.within = self._turn


def summary_began(
    telemetry: Telemetry, model: str, server: Attributes, *, streamed: bool
) -> Span | None:
    """Begin the span of a call for a summary, within whatever waits for it."""
    model = model[:_LONGEST_NAME]
    told = {"gen_ai.operation.name": "chat", **_asked(model, streamed=streamed), **server}
    return telemetry.span(f"chat {model}", Kind.CLIENT, told)


def used_tokens(usage: Usage) -> Attributes:
    """Return what a span tells of a call's tokens, and what parts of them were."""
    used = Used.of(usage)
    return {
        **_tokens(used),
        "gen_ai.usage.cache_read.input_tokens": used.cached,
        "gen_ai.usage.cache_write.input_tokens": used.cache_written,
        "gen_ai.usage.reasoning.output_tokens": used.reasoning,
    }


def _asked(model: str, *, streamed: bool) -> Attributes:
    told = {"gen_ai.provider.name": _PROVIDER, "gen_ai.request.model": model}
    return {**told, "gen_ai.request.stream": True} if streamed else told


def _tokens(used: Used) -> dict[str, int]:
    return {
        "gen_ai.usage.input_tokens": used.input,
        "gen_ai.usage.output_tokens": used.output,
    }
