"""Live events: what happens in a namespace, told to whoever listens just now.

Nothing is kept: who listens too slowly misses the oldest, and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from memgpt_proxy.stores.records import Namespace

MOST_WAITING = 256
"""Events that wait for one subscriber at most."""

MOST_SUBSCRIBERS = 1024
"""Subscribers of one process."""

MOST_OF_A_NAMESPACE = 16
"""Subscribers of one namespace in one process: nobody takes all places."""

MISSED = "missed"
"""The kind of event that tells a subscriber how many others it has missed."""


class TooManySubscribers(Exception):
    """There is no place for another subscriber."""


ERASED = "memory_erased"
"""The kind of event that tells that nothing of what was told before is remembered any more."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened.

    Attributes:
        kind: A short word, such as ``turn.began``.
        content: More of it, as JSON can hold it.
    """

    kind: str
    content: Mapping[str, Any]


class Subscription:
    """The events for one subscriber, from the moment it subscribed: an async iterator."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._missed = 0
        self._come = asyncio.Event()

    def put(self, event: Event) -> None:
        """Let an event wait for the subscriber; the oldest goes where too many do.

        Behind an erasure nothing waits that came before it.
        """
        if event.kind == ERASED:
            self._waiting.clear()
            self._missed = 0
        if len(self._waiting) == MOST_WAITING:
            self._missed += 1
        self._waiting.append(event)
        self._come.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """Return the next event; ahead of those that are left, what was missed."""
        while not self._waiting:
            self._come.clear()
            await self._come.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return Event(MISSED, {"count": missed})
        return self._waiting.popleft()


class Events(Protocol):
    """Where events are published, and subscribed to."""

    async def open(self) -> None:
        """Begin."""
        ...

    async def close(self) -> None:
        """End what runs beside."""
        ...

    def wanted(self, namespace: Namespace) -> bool:
        """Whether anybody listens; else nothing need be made of what happens."""
        ...

    def publish(self, namespace: Namespace, event: Event) -> None:
        """Tell those who listen. Returns at once, and never fails."""
        ...

    def subscribe(self, namespace: Namespace) -> AbstractAsyncContextManager[Subscription]:
        """Give what happens in a namespace, until the context ends.

        Raises TooManySubscribers.
        """
        ...


class LocalEvents:
    """Events of one process."""

    def __init__(self) -> None:
        self._subscriptions: dict[Namespace, set[Subscription]] = {}
        self._count = 0

    async def open(self) -> None:
        """Nothing is to be done."""

    async def close(self) -> None:
        """Nothing is to be done: subscribers go by themselves."""

    def wanted(self, namespace: Namespace) -> bool:
        """Whether the namespace has a subscriber."""
        return namespace in self._subscriptions

    def publish(self, namespace: Namespace, event: Event) -> None:
        """Put an event before each subscriber."""
        for subscription in self._subscriptions.get(namespace, ()):
            subscription.put(event)

    @asynccontextmanager
    async def subscribe(self, namespace: Namespace) -> AsyncIterator[Subscription]:
        """Give the events of a namespace."""
        subscription = Subscription()
        subscriptions = self._subscriptions.setdefault(namespace, set())
        try:
            if self._count >= MOST_SUBSCRIBERS or len(subscriptions) >= MOST_OF_A_NAMESPACE:
                raise TooManySubscribers
            self._count += 1
            subscriptions.add(subscription)
            try:
                yield subscription
            finally:
                self._count -= 1
                subscriptions.discard(subscription)
        finally:
            if not subscriptions:
                self._subscriptions.pop(namespace, None)
