"""A pause after an error: a server that is away does not make everybody wait for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from memgpt_proxy.stores.protocols import StoreUnavailable

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
"""Seconds for which nobody asks after the first error; each further one doubles them."""

LONGEST_PAUSE = 5.0


class RedisUnavailable(StoreUnavailable):
    """Redis is away, refuses, or was so a moment ago."""


class Circuit:
    """Lets attempts through; after one has failed, none for a while, and then one to try.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0
        self._trying = False

    @property
    def closed(self) -> bool:
        """Whether the last attempt succeeded, so that others are let through."""
        return self._pause == 0.0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Run an attempt that tells its failure by RedisUnavailable; raise that to refuse it."""
        was_closed = self.closed
        if not was_closed:
            self._begin_trial()
        try:
            yield
        except RedisUnavailable as error:
            if self.closed:
                log.warning("%s: replicas share nothing until it is back", error)
            if not was_closed or self.closed:
                self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._until = self._clock() + self._pause
            raise
        else:
            if not self.closed:
                log.info("Redis is back")
            self._pause = 0.0
        finally:
            if not was_closed:
                self._trying = False

    def _begin_trial(self) -> None:
        if self._trying or self._clock() < self._until:
            raise RedisUnavailable("Redis was unavailable a moment ago")
        self._trying = True
