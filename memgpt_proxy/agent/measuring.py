"""Measuring: what a turn tells metrics and the access log: durations and counts, never a text."""

from __future__ import annotations

import time
from typing import NamedTuple

from memgpt_proxy.agent.functions import FUNCTIONS
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.telemetry.exchange import CURRENT
from memgpt_proxy.telemetry.turns import OfModel
from memgpt_proxy.wire.chat import Usage

_OTHER = "other"
_LONGEST_NAME = 128
"""Characters of a model's name that the access log shows."""


class TurnMeasure:
    """The measure of one turn. Each method takes what its name says has happened.

    Args:
        model: As the client names it.
    """

    def __init__(self, telemetry: Telemetry, model: str) -> None:
        self._telemetry = telemetry
        self._metrics = telemetry.turns
        self._name = model
        self._known: OfModel | None = None  # until the backend has answered
        self._exchange = CURRENT.get()
        self._began = self._exchange.began if self._exchange else time.perf_counter()
        self._step_began = 0.0
        self._accepted = self._spoken = self._streamed = False
        self._steps = 0

    @property
    def _model(self) -> OfModel:
        return self._known or self._metrics.models.of(self._name)

    def step_began(self, *, streamed: bool) -> None:
        self._step_began = time.perf_counter()
        self._accepted = False
        self._streamed = streamed

    def chunk_came(self) -> float | None:
        """The backend has answered: its model is one that there is.

        Returns the seconds since the step began, if this is the first chunk of a stream.
        """
        if self._accepted:
            return None
        self._accepted = True
        self._known = self._metrics.models.accepted(self._name)
        if not self._streamed:
            return None
        seconds = time.perf_counter() - self._step_began
        self._model.first_chunk.observe(seconds)
        return seconds

    def spoke(self) -> None:
        """There are words for the client; how soon counts where they come one by one."""
        if self._streamed and not self._spoken:
            self._spoken = True
            seconds = time.perf_counter() - self._began
            self._model.first_token.observe(seconds)
            if self._exchange is not None:
                self._exchange.first_token = seconds

    def step_ended(self, usage: Usage) -> None:
        """A step came through; ``usage`` is the backend's, or estimated."""
        model, used = self._model, Used.of(usage)
        model.step.observe(time.perf_counter() - self._step_began)
        _count_tokens(model, used)
        self._steps += 1

    def step_failed(self, error: str) -> None:
        self._steps += 1
        seconds = time.perf_counter() - self._step_began
        self._metrics.step_failed(self._model, error, seconds)

    def called(self, function: str, seconds: float, *, failed: bool) -> None:
        """A memory function was called."""
        name = function if function in FUNCTIONS else _OTHER
        self._metrics.called(name, "failed" if failed else "", seconds)

    def ended(self, error: str, tokens: int, *, degraded: bool) -> None:
        """The turn has ended; ``error`` is empty where it has come to a reply.

        Args:
            tokens: That it has used, with a step that was broken off.
        """
        seconds = time.perf_counter() - self._began
        if error:
            self._metrics.turn_failed(self._model, error, seconds)
        else:
            self._model.turn.observe(seconds)
        self._model.steps.observe(self._steps)
        self._telemetry.turn_ended(degraded=degraded)
        if self._exchange is not None:
            self._exchange.steps, self._exchange.tokens = self._steps, tokens
            self._exchange.degraded = degraded
            self._exchange.model = self._name[:_LONGEST_NAME]


def summary_ended(
    telemetry: Telemetry, model: str, seconds: float, usage: Usage | None, error: str
) -> None:
    """A call for a summary has ended; ``error`` is empty where it came through.

    It is a call of the model as a step is. Tokens that the backend does not tell are not counted.
    """
    metrics = telemetry.turns
    if error:
        metrics.step_failed(metrics.models.of(model), error, seconds)
        return
    known = metrics.models.accepted(model)
    known.step.observe(seconds)
    if usage is not None:
        _count_tokens(known, Used.of(usage))


def _count_tokens(model: OfModel, used: Used) -> None:
    model.prompt.observe(used.input)
    model.answer.observe(used.output)
    model.input.add(used.input)
    model.output.add(used.output)
    model.cached.add(used.cached)
    model.cache_written.add(used.cache_written)
    model.reasoning.add(used.reasoning)


class Used(NamedTuple):
    """The tokens of one step: ``input`` and ``output``, and what parts of them were."""

    input: int
    output: int
    cached: int
    cache_written: int
    reasoning: int

    @classmethod
    def of(cls, usage: Usage) -> Used:
        """Return what a usage says; backends leave out what they do not count."""
        prompt = usage.get("prompt_tokens_details") or {}
        answer = usage.get("completion_tokens_details") or {}
        return cls(
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
            _count(prompt.get("cached_tokens")),
            _count(prompt.get("cache_write_tokens")),
            _count(answer.get("reasoning_tokens")),
        )


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) else 0
