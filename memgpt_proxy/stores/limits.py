"""Limits: what one API key may use in a minute, and what it has used.

A limit is a bucket that holds a minute's worth and refills steadily. A request takes one from
the bucket of requests when it comes; tokens are taken when they are known, after the reply, so
that their bucket can be overdrawn. A key is let in where one is left in each of its buckets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from memgpt_proxy.stores.records import Namespace

PERIOD = 60.0
"""Seconds in which an empty bucket is full again."""

TOLERANCE = 1e-6
"""Part of one by which sums of refills may be wrong."""

MOST_KEYS = 100_000
"""Keys with something used that one process keeps in mind, some 15 MiB."""

_LEAST_SWEPT = 1024


@dataclass(frozen=True, slots=True)
class Rates:
    """What one key may use in a minute; None is any number."""

    requests: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """How a bucket stands.

    Attributes:
        limit: What it holds when it is full.
        used: What is missing from that; more than ``limit`` where it is overdrawn.
    """

    limit: int
    used: float

    @property
    def remaining(self) -> int:
        """What is left, in whole ones."""
        return max(0, int(self.limit - self.used + TOLERANCE))

    @property
    def reset(self) -> float:
        """Seconds until it is full, if nothing is taken."""
        return self.used * PERIOD / self.limit

    @property
    def wait(self) -> float:
        """Seconds until one is left; 0 where one is."""
        missing = self.used + 1 - self.limit
        return missing * PERIOD / self.limit if missing > TOLERANCE else 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands once a request has come: with it, where it was let in.

    Attributes:
        requests: None where requests have no limit.
        tokens: None where tokens have none.
    """

    admitted: bool
    requests: Level | None
    tokens: Level | None


class Limiter(Protocol):
    """Keeps each key to its rates. It never fails: without its store it counts by itself.

    A key may have rates of its own, in place of those of all.
    """

    async def admit(self, key: Namespace, own: Rates | None = None) -> Standing:
        """Let a request in and count it, or refuse it, which costs its key nothing."""
        ...

    async def spend(self, key: Namespace, tokens: int, own: Rates | None = None) -> None:
        """Count tokens that a request which was let in has used."""
        ...


@dataclass(slots=True)
class _Used:
    """What a key had used of its rates at a time."""

    rates: Rates
    requests: float
    tokens: float
    at: float


class LocalLimiter:
    """A limiter for one process, in memory. Keys with full buckets are forgotten.

    Args:
        clock: Returns seconds since some time.
        most_keys: Keys that are kept in mind; beyond, those that have used least are forgotten.
    """

    def __init__(
        self,
        rates: Rates,
        clock: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._most = most_keys
        self._keys: dict[Namespace, _Used] = {}
        self._sweep_at = min(_LEAST_SWEPT, most_keys)

    def __len__(self) -> int:
        """Return the number of keys in mind."""
        return len(self._keys)

    async def admit(self, key: Namespace, own: Rates | None = None) -> Standing:
        """Let a request in and count it, or refuse it."""
        used = self._of(key, own or self._rates)
        standing = standing_of(used.rates, used.requests, used.tokens)
        if not standing.admitted:
            return standing
        used.requests += 1
        return standing_of(used.rates, used.requests, used.tokens, admitted=True)

    async def spend(self, key: Namespace, tokens: int, own: Rates | None = None) -> None:
        """Count tokens."""
        self._of(key, own or self._rates).tokens += tokens

    def _of(self, key: Namespace, rates: Rates) -> _Used:
        now = self._clock()
        used = self._keys.get(key)
        if used is None:
            if len(self._keys) >= self._sweep_at:
                self._sweep(now)
            used = self._keys[key] = _Used(rates, 0.0, 0.0, now)
        else:
            self._refill(used, now)
            used.rates = rates
        return used

    def _refill(self, used: _Used, now: float) -> None:
        passed = (now - used.at) / PERIOD
        used.requests = _left(used.requests, used.rates.requests, passed)
        used.tokens = _left(used.tokens, used.rates.tokens, passed)
        used.at = now

    def _sweep(self, now: float) -> None:
        """Forget keys with full buckets; of too many others, half."""
        for used in self._keys.values():
            self._refill(used, now)
        left = {key: used for key, used in self._keys.items() if self._reset(used) > 0}
        if len(left) >= self._most:
            most_used = sorted(left.items(), key=lambda item: self._reset(item[1]), reverse=True)
            left = dict(most_used[: self._most // 2])
        self._keys = left
        self._sweep_at = min(max(_LEAST_SWEPT, 2 * len(left)), self._most)

    def _reset(self, used: _Used) -> float:
        standing = standing_of(used.rates, used.requests, used.tokens)
        levels = (standing.requests, standing.tokens)
        return max((level.reset for level in levels if level), default=0.0)


def _left(used: float, rate: int | None, passed: float) -> float:
    """Return what is still missing after so many periods; where no limit is, nothing ever is."""
    return max(0.0, used - passed * rate) if rate else 0.0


def standing_of(
    rates: Rates, requests: float, tokens: float, *, admitted: bool | None = None
) -> Standing:
    """Return how a key stands that has used so much.

    Args:
        admitted: Whether a request was let in; told by what is left if None.
    """
    first = Level(rates.requests, requests) if rates.requests else None
    second = Level(rates.tokens, tokens) if rates.tokens else None
    if admitted is None:
        admitted = not any(level.wait for level in (first, second) if level)
    return Standing(admitted, first, second)


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds that are enough."""
    return ceil(seconds * 1000 - TOLERANCE)
