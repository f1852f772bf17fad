"""A backend that keeps failing is left out for a while, so that requests do not wait for it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

TOLERATED = 4
"""Failures in a row that change nothing; the next one opens the circuit."""

FIRST_PAUSE = 5.0
"""Seconds for which a backend is left out at first; each trial that fails doubles them."""

LONGEST_PAUSE = 60.0


class Circuit:
    """Counts failures in a row; when there are too many, lets one request through at a time.

    A trial that never ends, since its client has left, costs one more pause: nothing has to
    be given back.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._until = 0.0
        self._on_trial = False

    @property
    def is_open(self) -> bool:
        """Whether the backend keeps failing."""
        return self._failures > TOLERATED

    @property
    def is_pausing(self) -> bool:
        """Whether not even a trial is let through now."""
        return self.is_open and self._clock() < self._until

    def admits(self) -> bool:
        """Return whether to ask the backend; while the circuit is open, that is a trial."""
        if not self.is_open:
            return True
        if self.is_pausing:
            return False
        self._until = self._clock() + self._pause
        self._on_trial = True
        return True

    def passed(self) -> None:
        """The backend has answered."""
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._on_trial = False

    def failed(self) -> None:
        """The backend has not answered, or with an error of its own."""
        self._failures += 1
        if self._on_trial:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif self._failures != TOLERATED + 1:
            return  # asked before the circuit opened: that it fails too tells nothing new
        self._on_trial = False
        self._until = self._clock() + self._pause
