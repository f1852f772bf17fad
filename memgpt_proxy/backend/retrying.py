"""When a failed request is worth making again, and how long to wait before."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import count
from math import inf, isfinite
from typing import TypeVar

from memgpt_proxy.backend.refused import refused_traits
from memgpt_proxy.errors import (
    BackendBroken,
    BackendBusy,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    ErrorInStream,
    GatewayError,
)

T = TypeVar("T")

_PASSING_STATUS = frozenset({408, 425, 429})
_PASSING_WORDS = frozenset(
    {"overloaded_error", "rate_limit_error", "rate_limit_exceeded", "server_error"}
)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is made at most, and how long the pauses in between are.

    A pause is random: up to ``pause`` seconds at first, twice as much each time, and no more
    than ``longest``; or as long as the server asks for.

    Attributes:
        seconds: Time for all of it; an attempt that could only begin later is not made.
    """

    attempts: int = 4
    pause: float = 1.0
    longest: float = 60.0
    seconds: float = inf

    def pause_after(self, error: GatewayError, attempt: int) -> float:
        """Return how many seconds to wait after a failed attempt; they count from 1."""
        ours = min(self.pause * 2 ** (attempt - 1), self.longest)
        return max(pause_asked(error), random.uniform(0, ours))  # noqa: S311


async def persist(
    attempt: Callable[[], Awaitable[T]],
    retries: Retries,
    may_retry: Callable[[GatewayError], bool],
    retrying: Callable[[], None],
) -> T:
    """Make an attempt until it succeeds, and return its result; raises its last error.

    Args:
        may_retry: Whether an attempt that failed so may be made again.
        retrying: Called before each further attempt.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + retries.seconds
    for number in count(1):
        try:
            return await attempt()
        except GatewayError as error:
            pause = retries.pause_after(error, number)
            if number >= retries.attempts or not may_retry(error) or loop.time() + pause > end:
                raise
        await asyncio.sleep(pause)
        retrying()
    raise AssertionError


def may_pass(error: GatewayError) -> bool:
    """Return whether the same request may succeed later, or elsewhere.

    What a backend refuses for what is in it (400, 401, 403, 404, 422 and the like) does not.
    """
    match error:
        case BackendRefused():
            if error.status < 500 or error.status == 501:
                return error.status in _PASSING_STATUS
            return not refused_traits(error)  # a chat template's refusal comes as 500
        case ErrorInStream():
            return _told_to_pass(error)
        case _:
            return isinstance(
                error, BackendUnreachable | BackendTimeout | BackendBroken | BackendBusy
            )


def pause_asked(error: GatewayError) -> float:
    """Return for how many seconds an answer asks to wait; 0 where it does not."""
    told = {name: value.decode("latin-1").strip() for name, value in error.headers}
    if (exact := _number(told.get(b"retry-after-ms", ""))) is not None:
        return exact / 1000
    asked = told.get(b"retry-after", "")
    seconds = _number(asked)
    return _until(asked) if seconds is None else seconds


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0 else None


def _until(date: str) -> float:
    """Return the seconds until a date as HTTP writes it; 0 where it is none."""
    try:
        told = parsedate_to_datetime(date)
    except ValueError:
        return 0.0
    aware = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - time.time())


def _told_to_pass(error: ErrorInStream) -> bool:
    """Return whether an error in a stream is about the server and not about the request."""
    told = error.error
    for field in ("code", "status"):
        status = told.get(field)
        if isinstance(status, int):
            return status in _PASSING_STATUS or status >= 500
    return any(told.get(field) in _PASSING_WORDS for field in ("code", "type"))
