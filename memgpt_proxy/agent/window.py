"""The context window of a model, and the marks at which the queue manager acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memgpt_proxy.backend.client import Backend
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.backend.models import reported_windows
from memgpt_proxy.memory.results import PAGE_SIZE
from memgpt_proxy.memory.tokens import Calibration

DEFAULT_WINDOW = 8192
_CALIBRATED_MODELS = 1024
_FEWEST_CHARACTERS = 3
_USUAL_CHARACTERS = 4
"""Characters of a token of English prose; of facts and names there are fewer."""
_LONGEST_HIT = 2000

KNOWN_WINDOWS = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4o": 128_000,
    "gpt-5": 400_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4-mini": 200_000,
}
"""Tokens, as their vendor publishes them; a model is looked up by its longest known prefix."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the queue manager acts, as parts of the window (see the settings)."""

    pressure_at: float
    flush_at: float
    flush_to: float
    reply_reserve: int


@dataclass(frozen=True, slots=True)
class Room:
    """What one turn may put into its prompt.

    Attributes:
        message: Tokens of one message beyond which it is moved to archival storage.
        context: Characters of the working context.
        hit: Characters of one search result.
    """

    message: int
    context: int
    hit: int


@dataclass(frozen=True, slots=True)
class Window:
    """The window of one model, in tokens as the gateway counts them.

    Args:
        size: The backend's tokens.
        ratio: Backend's tokens per token of ours.
    """

    size: int
    ratio: float
    thresholds: Thresholds

    @property
    def usable(self) -> int:
        """Tokens that a prompt may take: the window less what the answer needs."""
        reserve = min(self.thresholds.reply_reserve, self.size // 4)
        return int((self.size - reserve) / self.ratio)

    @property
    def flush_above(self) -> int:
        """Tokens of a prompt above which the queue is flushed."""
        return int(self.usable * self.thresholds.flush_at)

    @property
    def flush_to(self) -> int:
        """Tokens that a prompt may keep in a flush."""
        return int(self.usable * self.thresholds.flush_to)

    def room(self, fixed: int, context_limit: int) -> Room:
        """Return what one turn may put into its prompt, so that all of it fits.

        Args:
            fixed: Tokens of what is always there: instructions and function declarations.
            context_limit: The operator's size of the working context, in characters.
        """
        free = max(0, self.usable - fixed)
        return Room(
            message=free // 3,
            context=min(context_limit, free // 2 * _FEWEST_CHARACTERS),
            hit=min(_LONGEST_HIT, free // 2 * _USUAL_CHARACTERS // PAGE_SIZE),
        )

    def part(self, tokens: int) -> float:
        """Return the part of the usable window that ``tokens`` fill."""
        return tokens / self.usable


def known_window(model: str) -> int | None:
    """Return the published window of ``model``, if it is in the table."""
    name = model.rsplit("/", 1)[-1].lower()
    known = [prefix for prefix in KNOWN_WINDOWS if name.startswith(prefix)]
    return KNOWN_WINDOWS[max(known, key=len)] if known else None


class Windows:
    """Finds the window of each model: as set, as reported, as published, else 8 192 tokens.

    Args:
        fixed: The operator's setting; None to find out.
    """

    def __init__(self, fixed: int | None, backend: Backend, thresholds: Thresholds) -> None:
        self._fixed = fixed
        self._backend = backend
        self._thresholds = thresholds
        self._reported: Mapping[str, int] | None = None
        self._calibrations: dict[str, Calibration] = {}

    async def of(self, model: str, headers: RawHeaders) -> Window:
        """Return the window of ``model``; asks the backend until it answers, with this key."""
        size = self._fixed or await self._found(model, headers)
        return Window(size, self.calibration(model).ratio, self._thresholds)

    def calibration(self, model: str) -> Calibration:
        """Return what was learned of the model's tokens."""
        known = self._calibrations.get(model)
        if known is None:
            if len(self._calibrations) >= _CALIBRATED_MODELS:
                self._calibrations.clear()
            known = self._calibrations[model] = Calibration()
        return known

    async def _found(self, model: str, headers: RawHeaders) -> int:
        if self._reported is None:
            self._reported = await reported_windows(self._backend, headers)
        windows = self._reported or {}
        reported = windows.get(model)
        if reported is None and len(windows) == 1:
            reported = next(iter(windows.values()))  # one model, whatever it is called
        return reported or known_window(model) or DEFAULT_WINDOW
