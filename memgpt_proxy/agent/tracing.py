"""Tracing: a turn tells what it does, to whoever listens and for its owner to look at later.

Nothing is made of what nobody wants. A trace is written once the client has its reply.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from secrets import token_hex
from typing import Any

import orjson

from memgpt_proxy.agent.executor import CallResult, FunctionCall
from memgpt_proxy.agent.reply import Step
from memgpt_proxy.errors import GatewayError
from memgpt_proxy.stores.events import Event, Events
from memgpt_proxy.stores.records import NO_TURN, Namespace, Trace, TurnId, WorkingContext
from memgpt_proxy.stores.storable import clean
from memgpt_proxy.stores.trace_writer import TraceWriter
from memgpt_proxy.wire.chat import Usage

MOST_SHOWN = 1000
"""Characters of arguments and results that are told."""


class Tracer:
    """What the traces of turns share.

    Args:
        events: Where they are told live.
        writer: Keeps them; None where they are not to be kept.
        clock: Returns the time.
    """

    def __init__(
        self, events: Events, writer: TraceWriter | None, clock: Callable[[], datetime]
    ) -> None:
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

    def began(self, turn: TurnId, undone: Sequence[TurnId]) -> None:
        """The turn has begun, or begun anew; one without memory has no name yet."""
        self._turn = turn or self._tracer.name()
        self._undone = undone
        if self._wanted:
            self._tell("turn_began", {"model": self._model, "undone": list(undone)})

    def step_began(self) -> None:
        self._mark = time.monotonic()

    def step_ended(self, step: Step, usage: Usage) -> None:
        if not (self._wanted or self._tracer.writer):
            return
        calls = [
            {"name": clean(call.name), "arguments": cut(call.arguments)} for call in step.calls
        ]
        self._calls = {call.id: told for call, told in zip(step.calls, calls, strict=True)}
        made = {"seconds": self._passed(), "usage": usage, "calls": calls}
        self._steps.append(made)
        self._tell("step", made)

    def called(self, call: FunctionCall, result: CallResult) -> None:
        """A function of ours was called."""
        told = self._calls.get(call.id)
        if told is None:
            return
        told |= {"result": cut(result.text), "failed": result.failed, "seconds": self._passed()}
        self._tell("function_called", told)
        if result.context is not None:
            self._context_changed(result.context)

    def queue_flushed(self, evicted: int) -> None:
        self._flushes.append({"evicted": evicted})
        if self._wanted:
            self._tell("queue_flushed", {"evicted": evicted})

    def ended(self, *, degraded: bool, usage: Usage | None, finish_reason: str | None) -> None:
        """The turn has ended; where an error ends it, that is being handled now."""
        self._end = {
            "seconds": round(time.monotonic() - self._began, 6),
            "degraded": degraded,
            "finish_reason": finish_reason,
            "error": _told(sys.exception()),
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


def _told(error: BaseException | None) -> str | None:
    """Return what has ended a turn: a code of ours, or that its client or the server left."""
    match error:
        case None:
            return None
        case GatewayError():
            return error.code or error.type
        case _:
            return "cancelled"
