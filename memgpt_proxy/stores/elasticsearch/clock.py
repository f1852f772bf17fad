"""Tells what was stored later, in this process and, as its clock is right, among all."""

from __future__ import annotations

import time


class Clock:
    """Nanoseconds since the epoch, none given twice."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        """Return the next number."""
        self._last = max(self._last + 1, time.time_ns())
        return self._last
