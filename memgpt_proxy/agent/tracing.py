"""Tracing: a turn tells what it does, to whoever listens and for its owner to look at later.

Nothing is made of what nobody wants. A trace is written once the client has its reply.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from secrets import token_hex
from types import TracebackType
from typing import Any

import orjson

from memgpt_proxy.agent.executor import CallResult, FunctionCall
from memgpt_proxy.agent.measuring import TurnMeasure, summary_ended
from memgpt_proxy.agent.reply import Step
from memgpt_proxy.agent.spanning import TurnSpans, summary_began, used_tokens
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import (
    GatewayError,
    NoReply,
)
from memgpt_proxy.failures import failure
from memgpt_proxy.stores.events import Event, Events
from memgpt_proxy.stores.records import NO_TURN, Namespace, Trace, TurnId, WorkingContext
from memgpt_proxy.stores.storable import clean
from memgpt_proxy.stores.trace_writer import TraceWriter
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.telemetry.exchange import CURRENT
from memgpt_proxy.telemetry.spans import Attributes
from memgpt_proxy.wire.chat import Usage

MOST_SHOWN = 1000
"""Characters of arguments and results that are told."""


class Tracer:
    """What the traces of turns share.

    Args:
        events: Where they are told live.
        writer: Keeps them; None where they are not to be kept.
        clock: Returns the time.
        telemetry: Counts what they do.
    """

    def __init__(
        self,
        events: Events,
        writer: TraceWriter | None,
        clock: Callable[[], datetime],
        telemetry: Telemetry,
    ) -> None:
        self.telemetry = telemetry
        self.events = events
        self.writer = writer
        self.clock = clock
        self._process, self._turns = token_hex(8), count()

    def begin(self, namespace: Namespace, model: str) -> TurnTrace:
        """Return the trace of a turn that begins now."""
        return TurnTrace(self, namespace, model)

    def name(self) -> TurnId:
        """Return a name for a turn without memory, which has none."""
        return TurnId(f"{self._process}-{next(self._turns):x}")


class TurnTrace:
    """What one turn does. Each method takes what its name says has happened."""

    def __init__(self, tracer: Tracer, namespace: Namespace, model: str) -> None:
        self._tracer = tracer
        self._namespace = namespace
        self._model = model
        self._turn = NO_TURN
        self._undone: Sequence[TurnId] = ()
        self._began = self._mark = time.monotonic()
        self._steps: list[dict[str, Any]] = []
        self._flushes: list[dict[str, Any]] = []
        self._calls: dict[str, dict[str, Any]] = {}
        self._end: dict[str, Any] | None = None
        self._measure = TurnMeasure(tracer.telemetry, model)
        self._spans = TurnSpans.of(tracer.telemetry.spans, CURRENT.get(), model)

    def began(self, turn: TurnId, undone: Sequence[TurnId]) -> None:
        """The turn has begun, or begun anew; one without memory has no name yet."""
        self._turn = turn or self._tracer.name()
        self._undone = undone
        if self._wanted:
            self._tell("turn_began", {"model": self._model, "undone": list(undone)})

    def step(self, server: Attributes, *, streamed: bool) -> StepUnderWay:
        """Return a context for the step that begins now; an error that leaves it ends the step.

        Args:
            server: What spans tell of the backend.
        """
        self._mark = time.monotonic()
        self._measure.step_began(streamed=streamed)
        if self._spans is not None:
            self._spans.step_began(server, streamed=streamed)
        return StepUnderWay(self)

    def headers(self, headers: RawHeaders) -> RawHeaders:
        """Return the headers of the step's request, given the client's."""
        return self._spans.headers(headers) if self._spans is not None else headers

    def chunk_came(self) -> None:
        """More of the backend's answer is there."""
        first = self._measure.chunk_came()
        if first is not None and self._spans is not None:
            self._spans.first_chunk_came(first)

    def spoke(self) -> None:
        """There are words for the client."""
        self._measure.spoke()

    def step_failed(self, error: BaseException) -> None:
        word = failure(error)
        self._measure.step_failed(word)
        if self._spans is not None:
            self._spans.step_failed(word)

    def step_ended(self, step: Step, usage: Usage, model: str | None) -> None:
        """A step came through; ``model`` is the one that the backend says has answered."""
        self._measure.step_ended(usage)
        if self._spans is not None:
            self._spans.step_ended(usage, step.finish_reason, model)
        if not (self._wanted or self._tracer.writer):
            return
        calls = [
            {"name": clean(call.name), "arguments": cut(call.arguments)} for call in step.calls
        ]
        self._calls = {call.id: told for call, told in zip(step.calls, calls, strict=True)}
        made = {"seconds": self._passed(), "usage": usage, "calls": calls}
        self._steps.append(made)
        self._tell("step", made)

    def call_began(self, call: FunctionCall) -> None:
        if self._spans is not None:
            self._spans.call_began(call.function.name)

    def called(self, call: FunctionCall, result: CallResult) -> None:
        """A function of ours was called."""
        seconds = self._passed()
        self._measure.called(call.function.name, seconds, failed=result.failed)
        if self._spans is not None:
            self._spans.call_ended(failed=result.failed)
        told = self._calls.get(call.id)
        if told is None:
            return
        told |= {"result": cut(result.text), "failed": result.failed, "seconds": seconds}
        self._tell("function_called", told)
        if result.context is not None:
            self._context_changed(result.context)

    def queue_flushed(self, evicted: int) -> None:
        self._flushes.append({"evicted": evicted})
        if self._wanted:
            self._tell("queue_flushed", {"evicted": evicted})

    def ended(
        self, *, degraded: bool, usage: Usage | None, tokens: int, finish_reason: str | None
    ) -> None:
        """The turn has ended; where an error ends it, that is being handled now.

        Args:
            usage: Of the steps that came through.
            tokens: Of all steps.
        """
        error = sys.exception()
        word = _failed(error, finish_reason)
        self._measure.ended(word, tokens, degraded=degraded)
        if self._spans is not None:
            self._spans.ended(word, usage, degraded=degraded)
        self._end = {
            "seconds": round(time.monotonic() - self._began, 6),
            "degraded": degraded,
            "finish_reason": finish_reason,
            "error": _told(error),
            "usage": usage,
        }
        if self._wanted:
            if degraded:
                self._tell("degraded", {})
            self._tell("turn_ended", self._end)

    def keep(self) -> None:
        """Keep the trace: the client has its reply."""
        writer = self._tracer.writer
        if writer is None or self._end is None:
            return
        began = self._tracer.clock().timestamp() - (time.monotonic() - self._began)
        content = {
            "model": clean(self._model),
            **self._end,
            "steps": self._steps,
            "flushes": self._flushes,
            "undone": self._undone,
        }
        writer.keep(self._namespace, Trace(self._turn, began, orjson.dumps(content).decode()))

    @property
    def _wanted(self) -> bool:
        return self._tracer.events.wanted(self._namespace)

    def _context_changed(self, context: WorkingContext) -> None:
        if self._wanted:
            content = {"version": context.version, "content": clean(context.content)}
            self._tell("working_context_changed", content)

    def _tell(self, kind: str, content: Mapping[str, Any]) -> None:
        if self._wanted:
            now = self._tracer.clock().timestamp()
            told = {"turn": self._turn, "created": now, **content}
            self._tracer.events.publish(self._namespace, Event(kind, told))

    def _passed(self) -> float:
        """Return the seconds since something was last told, and begin to count anew."""
        since, self._mark = self._mark, time.monotonic()
        return round(self._mark - since, 6)


def cut(text: str) -> str:
    """Return a text as it is told: no longer than is bearable."""
    return clean(text) if len(text) <= MOST_SHOWN else f"{clean(text[:MOST_SHOWN])}…"


class StepUnderWay:
    """A step from its request to the end of its answer."""

    __slots__ = ("_trace",)

    def __init__(self, trace: TurnTrace) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._trace.step_failed(error)


class SummaryCall:
    """A call for a summary on its way.

    Attributes:
        headers: Of its request.
        usage: What the backend says that it took, once it does.
    """

    __slots__ = ("headers", "usage")

    def __init__(self, headers: RawHeaders) -> None:
        self.headers = headers
        self.usage: Usage | None = None


@contextmanager
def summarizing(
    telemetry: Telemetry, route: Route, headers: RawHeaders, *, streamed: bool
) -> Iterator[SummaryCall]:
    """Tell of a call for a summary; ``headers`` are the client's."""
    span = summary_began(telemetry, route.model, route.backend.server, streamed=streamed)
    call = SummaryCall(headers if span is None else span.headers(headers))
    began, error = time.perf_counter(), ""
    try:
        yield call
    except BaseException as raised:
        error = failure(raised)
        raise
    finally:
        summary_ended(telemetry, route.model, time.perf_counter() - began, call.usage, error)
        if span is not None:
            span.add({} if call.usage is None else used_tokens(call.usage))
            span.end(error)


def _failed(error: BaseException | None, finish_reason: str | None) -> str:
    if error is not None:
        return failure(error)
    return "" if finish_reason is not None else str(NoReply.code)


def _told(error: BaseException | None) -> str | None:
    """Return what has ended a turn: a code of ours, or that its client or the server left."""
    match error:
        case None:
            return None
        case GatewayError():
            return error.code or error.type
        case _:
            return "cancelled"
