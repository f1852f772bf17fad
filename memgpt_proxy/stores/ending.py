"""How tasks are ended when a store closes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

CANCELLED_SECONDS = 0.5
"""How long to wait for tasks to end before they are cancelled again."""


async def ended(tasks: Iterable[asyncio.Task[Any]], seconds: float = 0.0) -> None:
    """Return once tasks have ended: by themselves within ``seconds``, or cancelled.

    To cancel them once may not be enough: ``asyncio.wait_for``, by which Redis's client writes,
    loses a cancellation that comes as it ends (before Python 3.12).
    """
    left = set(tasks)
    if left:
        _, left = await asyncio.wait(left, timeout=seconds)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCELLED_SECONDS)
