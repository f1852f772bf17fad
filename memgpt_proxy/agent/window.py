"""The context window of a model, and the marks at which the queue manager acts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import copy
from time import monotonic

from memgpt_proxy.agent.learned import Learned
from memgpt_proxy.backend.client import Backends, Route
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.backend.models import reported_windows
from memgpt_proxy.backend.overflow import Overflow
from memgpt_proxy.memory.results import PAGE_SIZE
from memgpt_proxy.memory.tokens import Calibration
from memgpt_proxy.values import dataclass

log = logging.getLogger(__name__)

DEFAULT_WINDOW = 8192
_SMALLEST = 256
_SMALLER = 0.75
"""Part of a refused request that is tried next, where the backend does not tell its window."""
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
        learned: It is known from a refusal: what exceeds it would be refused too.
    """

    size: int
    ratio: float
    thresholds: Thresholds
    learned: bool = False

    @property
    def reserve(self) -> int:
        """The backend's tokens that are kept for the answer."""
        return min(self.thresholds.reply_reserve, self.size // 4)

    @property
    def usable(self) -> int:
        """Tokens that a prompt may take: the window less what the answer needs."""
        return int((self.size - self.reserve) / self.ratio)

    def longest_answer(self, prompt: int) -> int | None:
        """Return the backend's tokens left for the answer; None where a refusal is unlikely.

        Args:
            prompt: Tokens of the prompt, by our count, which may be a little off.
        """
        if not self.learned:
            return None
        taken = int(prompt * self.ratio)
        return max(1, self.size - taken - min(taken // 50, self.reserve // 2))

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
            context=min(context_limit, _coarse(free // 2 * _FEWEST_CHARACTERS)),
            hit=min(_LONGEST_HIT, free // 2 * _USUAL_CHARACTERS // PAGE_SIZE),
        )

    def part(self, tokens: int) -> float:
        """Return the part of the usable window that ``tokens`` fill."""
        return tokens / self.usable


def _coarse(size: int) -> int:
    """Return ``size`` in its three highest bits.

    It stands in the system message, and the calibration moves a little with every turn: a
    new number would cost the backend's whole prompt cache.
    """
    return size >> (shift := max(0, size.bit_length() - 3)) << shift


def known_window(model: str) -> int | None:
    """Return the published window of ``model``, if it is in the table."""
    name = model.rsplit("/", 1)[-1].lower()
    known = [prefix for prefix in KNOWN_WINDOWS if name.startswith(prefix)]
    return KNOWN_WINDOWS[max(known, key=len)] if known else None


class Windows:
    """Finds the window of each model: as set, as reported, as published, else 8 192 tokens.

    What a refusal tells of it counts for more than all of these, for the life of the process.
    Models are named here as clients name them; what is learned belongs to what they stand for.

    Args:
        fixed: The operator's setting; None to find out.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        fixed: int | None,
        backends: Backends,
        thresholds: Thresholds,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._fixed = fixed
        self._backends = backends
        self._thresholds = thresholds
        self._reported: dict[str, tuple[Mapping[str, int], float]] = {}  # and until when that holds
        self._calibrations: Learned[Calibration] = Learned()
        self._learned: Learned[int] = Learned()

    async def of(self, model: str, headers: RawHeaders) -> Window:
        """Return the window of ``model``; asks the backend until it answers, with this key."""
        route = self._route(model)
        key, fixed = route.key, route.window or self._fixed
        known = self._calibrations.get(key)  # anybody can ask for a model that there is not
        ratio = known.ratio if known else Calibration().ratio
        if learned := self._learned.get(key):
            size = min(learned, fixed or learned)
            return Window(size, ratio, self._thresholds, learned=True)
        size = fixed or await self._found(route, headers)
        return Window(size, ratio, self._thresholds)

    def learn(
        self, model: str, overflow: Overflow, counted: int, answer: int | None
    ) -> Callable[[], None]:
        """Take what a refusal tells of the window and of the model's tokens.

        A backend that tells no window has one smaller than what it was sent. Returns what forgets
        it: a refusal may repeat a client's words, and is believed where something comes of that.

        Args:
            counted: Tokens of the refused prompt, by our count.
            answer: The backend's tokens that were asked for the answer, if that was said.
        """
        forget = self._forgetting(model)
        calibration = self.calibration(model)
        prompt = overflow.prompt or counted * calibration.ratio
        asked = overflow.completion or answer or 0
        sent = prompt + (asked if overflow.by_answer else 0)
        if overflow.prompt:
            calibration.learn(counted, overflow.prompt, weight=1)
        elif overflow.window and prompt + asked <= overflow.window:
            # By our count it would have fitted: the backend has more tokens for the same text.
            calibration.learn(counted, prompt / _SMALLER, weight=1)
        self._keep(model, overflow.window or int(sent * _SMALLER))
        return forget

    def _forgetting(self, model: str) -> Callable[[], None]:
        """Return what makes known again of a model what is known now."""
        key = self._route(model).key
        size, calibration = self._learned.get(key), copy(self._calibrations.get(key))

        def forget() -> None:
            self._learned.pop(key, None)
            self._calibrations.pop(key, None)
            if size is not None:
                self._learned[key] = size
            if calibration is not None:
                self._calibrations[key] = calibration

        return forget

    def calibration(self, model: str) -> Calibration:
        """Return what was learned of the model's tokens."""
        key = self._route(model).key
        known = self._calibrations.get(key)
        if known is None:
            known = self._calibrations[key] = Calibration()
        return known

    def _route(self, model: str) -> Route:
        return self._backends.routes(model)[0]

    def _keep(self, model: str, size: int) -> None:
        route = self._route(model)
        if route.key not in self._learned and size < (route.window or self._fixed or 0):
            log.warning("the window set is too large for %r, which has %d tokens", model, size)
        self._learned[route.key] = max(size, _SMALLEST)

    async def _found(self, route: Route, headers: RawHeaders) -> int:
        name = route.backend.name
        windows, until = self._reported.get(name, ({}, 0.0))
        if until <= self._clock():
            told = await reported_windows(route.backend, headers)
            windows = told.windows
            self._reported[name] = windows, self._clock() + told.holds
        reported = windows.get(route.model)
        if reported is None and len(windows) == 1:
            reported = next(iter(windows.values()))  # one model, whatever it is called
        return reported or known_window(route.model) or DEFAULT_WINDOW
