"""Healing: what a turn does when the backend finds a step's prompt too long.

The window is learned from the refusal, the turn is prepared anew with it, and the step is
sent again. The client sees nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from memgpt_proxy.agent.executor import CallPlace
from memgpt_proxy.agent.opening import Opening
from memgpt_proxy.agent.steps import StepRequests
from memgpt_proxy.agent.window import Window, Windows
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.overflow import Overflow, error_overflow, refusal_overflow
from memgpt_proxy.errors import BackendRefused, ErrorInStream
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.values import dataclass

Refusal = BackendRefused | ErrorInStream

_MOST = 3
"""How often a turn's steps are sent again."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a turn begins with, made for the window as it is known.

    Attributes:
        degraded: It is a turn without memory, or one whose store is away.
        erasures: How often the memory had been erased when it was read; None while it was.
    """

    opening: Opening
    steps: StepRequests
    window: Window
    place: CallPlace
    degraded: bool
    erasures: int | None


Prepare = Callable[[Route], Awaitable[Prepared]]


class Healing:
    """The refusals of one turn, and what they taught.

    Args:
        model: As the client names it.
    """

    def __init__(self, windows: Windows, model: str, telemetry: Telemetry) -> None:
        self._windows = windows
        self._model = model
        self._telemetry = telemetry
        self._left = _MOST
        self._refused: tuple[bytes, Refusal] | None = None
        self._forget: Callable[[], None] | None = None

    def learn(self, refusal: Refusal, body: bytes, counted: int, answer: int | None) -> bool:
        """Take a refusal of ``body``; return whether to prepare it anew and try again.

        Args:
            counted: Tokens of its prompt, by our count.
            answer: Tokens that it asked for the answer.
        """
        overflow = _overflow(refusal)
        if overflow is None or self._left == 0:
            return False
        self._left -= 1
        self._refused = (body, refusal)
        forget = self._windows.learn(self._model, overflow, counted, answer)
        self._forget = self._forget or forget
        return True

    def check(self, body: bytes) -> None:
        """Raise the refusal of this very body: nothing of it could be made shorter."""
        if self._refused is not None and self._refused[0] == body:
            self.failed()
            raise self._refused[1]

    def succeeded(self) -> None:
        """A step came through."""
        if self._refused is not None:
            self._refused = self._forget = None
            self._telemetry.window_healed()

    def failed(self) -> None:
        """Nothing has come of what the refusals told."""
        if self._forget is not None:
            self._forget()
            self._forget = None


def _overflow(refusal: Refusal) -> Overflow | None:
    if isinstance(refusal, BackendRefused):
        return refusal_overflow(refusal.status, refusal.body())
    return error_overflow(refusal.error)
