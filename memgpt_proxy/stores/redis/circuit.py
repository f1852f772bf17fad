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

CALM_SECONDS = 60.0
"""Seconds without a refusal after which a full server may be so no more. At its limit it takes some
writes and refuses others, as old keys go."""


class RedisUnavailable(StoreUnavailable):
    """Redis is away, refuses, or was so a moment ago."""


class RedisFull(RedisUnavailable):
    """Redis has no memory left: it refuses what takes some, and carries out all else."""


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
        self._told: RedisUnavailable | None = None
        self._calm_at = 0.0

    @property
    def closed(self) -> bool:
        """Whether the last attempt succeeded, so that others are let through."""
        return self._pause == 0.0

    @property
    def told(self) -> bool:
        """Whether the log has told of an error, and not yet that it is over."""
        return self._told is not None

    @property
    def may_have_room(self) -> bool:
        """Whether a server that was full has refused nothing for a while: a write will tell."""
        return isinstance(self._told, RedisFull) and self._clock() >= self._calm_at

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Run an attempt that tells its failure by RedisUnavailable; raise that to refuse it."""
        was_closed = self.closed
        if not was_closed:
            self._begin_trial()
        proves_room = self.may_have_room
        try:
            yield
        except RedisUnavailable as error:
            self._tell(error)
            if not was_closed or self.closed:
                self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._until = self._clock() + self._pause
            raise
        else:
            self._pause = 0.0
            if self._told is not None and (proves_room or not isinstance(self._told, RedisFull)):
                log.info("Redis is back")
                self._told = None
        finally:
            if not was_closed:
                self._trying = False

    def _tell(self, error: RedisUnavailable) -> None:
        if type(error) is not type(self._told):
            log.warning("%s: replicas share nothing until it is back", error)
        self._told = error
        self._calm_at = self._clock() + CALM_SECONDS

    def _begin_trial(self) -> None:
        if self._trying or self._clock() < self._until:
            raise RedisUnavailable("Redis was unavailable a moment ago")
        self._trying = True
