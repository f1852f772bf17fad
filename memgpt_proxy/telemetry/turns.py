"""What is measured of turns: time, steps, tokens and calls, for each model.

The names are those of OpenTelemetry's conventions for generative AI, as Prometheus writes them:
a turn is an agent's invocation, a step an operation of the client's, a memory function a tool.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from memgpt_proxy.telemetry.instruments import Count, Distribution, Series, Tally
from memgpt_proxy.telemetry.models import ByModel

CHAT = "chat"
"""The conventions' name for what a step is."""
EMBEDDINGS = "embeddings"
"""Theirs for a call of the embedding model."""

_MODEL = "gen_ai_request_model"
_OPERATION = "gen_ai_operation_name"
_ERROR = "error_type"

_OPERATION_SECONDS = tuple(0.01 * 2**n for n in range(14))
_TURN_SECONDS = tuple(0.1 * 2**n for n in range(13))
_TOKENS = tuple(float(4**n) for n in range(14))
_CALLS = tuple(float(2**n) for n in range(8))
"""Bounds that the conventions advise."""
_TOKEN_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""Those advised, and three more: steps that use memory may go before the first word."""
_CALL_SECONDS = (0.001, 0.0025, 0.005, *_OPERATION_SECONDS)
"""Likewise: a memory function mostly takes less than the least of them."""


@dataclass(frozen=True, slots=True)
class OfModel:
    """What is measured of one model's turns: the series that take it, and its label."""

    name: str
    turn: Series
    steps: Series
    first_token: Series
    first_chunk: Series
    step: Series
    prompt: Series
    answer: Series
    input: Tally
    output: Tally
    cached: Tally
    cache_written: Tally
    reasoning: Tally


class TurnMetrics:
    """What is measured of all turns.

    Attributes:
        models: What is measured of each model's.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._measure_turns()
        self._measure_steps()
        self._measure_tokens()
        self.models = ByModel(self._of_model)

    def turn_failed(self, model: OfModel, error: str, seconds: float) -> None:
        """A turn has ended without a reply; ``error`` is a word from a bounded set."""
        self._turns.labels(model.name, error).observe(seconds)

    def step_failed(self, model: OfModel, error: str, seconds: float) -> None:
        """A call of the backend has failed."""
        self._steps.labels(CHAT, model.name, error).observe(seconds)

    def embedded(self, model: str, error: str, seconds: float) -> None:
        """A call of the embedding model, which a setting names, has come through or failed."""
        self._steps.labels(EMBEDDINGS, model, error).observe(seconds)

    def embedding_tokens(self, model: str, tokens: int) -> None:
        """A call of the embedding model has taken so many tokens, as its server says."""
        self._prompts.labels(EMBEDDINGS, model).observe(tokens)

    def called(self, function: str, error: str, seconds: float) -> None:
        """A memory function was called."""
        self._calls.labels(function, error).observe(seconds)

    def _measure_turns(self) -> None:
        self._turns = self._distribution(
            "gen_ai_invoke_agent_duration_seconds",
            "From a request to the end of its turn, which is stored then",
            (_MODEL, _ERROR),
            _TURN_SECONDS,
        )
        self._turn_steps = self._distribution(
            "gen_ai_invoke_agent_inference_calls", "Steps of a turn", (_MODEL,), _CALLS
        )
        self._first_token = self._distribution(
            "gen_ai_server_time_to_first_token_seconds",
            "From a request to the first word of its reply",
            (_MODEL,),
            _TOKEN_SECONDS,
        )
        self._calls = self._distribution(
            "gen_ai_execute_tool_duration_seconds",
            "Calls of memory functions",
            ("gen_ai_tool_name", _ERROR),
            _CALL_SECONDS,
        )

    def _measure_steps(self) -> None:
        self._steps = self._distribution(
            "gen_ai_client_inference_duration_seconds",
            "Calls of the backend, for steps, summaries and embeddings",
            (_OPERATION, _MODEL, _ERROR),
            _OPERATION_SECONDS,
        )
        self._first_chunk = self._distribution(
            "gen_ai_client_inference_time_to_first_chunk_seconds",
            "From a call of the backend to the first chunk of its answer",
            (_OPERATION, _MODEL),
            _OPERATION_SECONDS,
        )

    def _measure_tokens(self) -> None:
        self._prompts = self._of_each("input", "Tokens of one call's prompt, or of what it embeds")
        self._answers = self._of_each("output", "Tokens of one call's answer")
        self._input = self._tokens("input", "Tokens of prompts, cached ones among them")
        self._output = self._tokens("output", "Tokens of answers, those of reasoning among them")
        self._cached = self._tokens(
            "cache_read_input", "Tokens of prompts that the backend had in its cache"
        )
        self._cache_written = self._tokens(
            "cache_write_input", "Tokens of prompts that the backend has put into its cache"
        )
        self._reasoning = self._tokens("reasoning_output", "Tokens that models have thought with")

    def _of_model(self, model: str) -> OfModel:
        return OfModel(
            name=model,
            turn=self._turns.labels(model, ""),
            steps=self._turn_steps.labels(model),
            first_token=self._first_token.labels(model),
            first_chunk=self._first_chunk.labels(CHAT, model),
            step=self._steps.labels(CHAT, model, ""),
            prompt=self._prompts.labels(CHAT, model),
            answer=self._answers.labels(CHAT, model),
            input=self._input.labels(model),
            output=self._output.labels(model),
            cached=self._cached.labels(model),
            cache_written=self._cache_written.labels(model),
            reasoning=self._reasoning.labels(model),
        )

    def _distribution(
        self, name: str, meaning: str, labels: tuple[str, ...], bounds: tuple[float, ...]
    ) -> Distribution:
        return Distribution(name, meaning, labels, bounds, self._registry)

    def _of_each(self, kind: str, meaning: str) -> Distribution:
        name = f"gen_ai_client_inference_operation_{kind}_tokens"
        return self._distribution(name, meaning, (_OPERATION, _MODEL), _TOKENS)

    def _tokens(self, kind: str, meaning: str) -> Count:
        name = f"gen_ai_client_inference_usage_{kind}_tokens"
        return Count(name, meaning, (_MODEL,), self._registry)
