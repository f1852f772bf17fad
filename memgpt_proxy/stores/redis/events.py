"""Live events across replicas, by Redis' publish and subscribe.

Each process reads two channels on one connection: its own inbox, and the one on which processes
with subscribers say, every few seconds, whose events they want in which inbox. So nothing is made
or sent of what nobody listens to, and to know that costs no round trip. What is sent goes in
batches beside the turns. What happens while Redis is away, or before another process has heard
that somebody listens, is lost elsewhere; subscribers in the same process get it all the same.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from time import monotonic
from typing import Any, cast

import orjson
from redis.exceptions import RedisClusterException, RedisError

from memgpt_proxy.stores.events import Event, LocalEvents, Subscription
from memgpt_proxy.stores.records import Namespace, Owner
from memgpt_proxy.stores.redis.circuit import RedisUnavailable
from memgpt_proxy.stores.redis.connection import RedisConnection
from memgpt_proxy.stores.storable import owner_of

log = logging.getLogger(__name__)

SAY_SECONDS = 5.0
"""How often a process says whose events it wants."""

LEASE_SECONDS = 3 * SAY_SECONDS
"""How long it gets them after it has said so."""

SILENCE_SECONDS = 10.0
"""Silence after which the connection is tried; after as much again it is made anew."""

RETRY_SECONDS = 1.0
MOST_UNSENT = 4096
_CANCEL_SECONDS = 0.1

Inbox = str
_Told = tuple[Owner, str, Any]


class RedisEvents:
    """The events of all processes with one Redis.

    Args:
        lease: Seconds for which another process gets the events that it has asked for.
    """

    def __init__(self, redis: RedisConnection, *, lease: float = LEASE_SECONDS) -> None:
        self._redis = redis
        self._lease = lease
        self._here = LocalEvents()
        self._names: dict[Owner, Namespace] = {}
        self._elsewhere: dict[Owner, dict[Inbox, float]] = {}
        self._unsent: deque[tuple[Inbox, _Told]] = deque(maxlen=MOST_UNSENT)
        self._something = asyncio.Event()
        self._inbox = redis.key("events", secrets.token_hex(8))
        self._wishes = redis.key("events", "wanted")
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to read and to send."""
        loop = asyncio.get_running_loop()
        works = (self._read(), self._send(), self._keep_saying())
        self._tasks = [loop.create_task(work) for work in works]

    async def close(self) -> None:
        """Stop; what is not sent yet is lost."""
        tasks, self._tasks = self._tasks, []
        while unfinished := [task for task in tasks if not task.done()]:
            for task in unfinished:
                task.cancel()
            # The driver may swallow it: Python 3.11's wait_for does, where what it waits for ends.
            await asyncio.wait(unfinished, timeout=_CANCEL_SECONDS)
        for task in tasks:
            if not task.cancelled():
                task.result()

    def wanted(self, namespace: Namespace) -> bool:
        """Whether anybody is known to listen, here or elsewhere."""
        if self._here.wanted(namespace):
            return True
        return bool(self._elsewhere) and owner_of(namespace) in self._elsewhere

    def publish(self, namespace: Namespace, event: Event) -> None:
        """Tell subscribers here at once, and those elsewhere soon."""
        self._here.publish(namespace, event)
        if not self._elsewhere:
            return
        owner = owner_of(namespace)
        for inbox in self._elsewhere.get(owner, ()):
            self._unsent.append((inbox, (owner, event.kind, event.content)))
            self._something.set()

    @asynccontextmanager
    async def subscribe(self, namespace: Namespace) -> AsyncIterator[Subscription]:
        """Give the events of a namespace; others have been told when it begins."""
        owner = owner_of(namespace)
        try:
            async with self._here.subscribe(namespace) as subscription:
                self._names[owner] = namespace
                await self._say([owner])
                yield subscription
        finally:
            if not self._here.wanted(namespace):
                self._names.pop(owner, None)

    async def _keep_saying(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            self._forget_old()
            if self._names:
                await self._say(self._names)

    def _forget_old(self) -> None:
        now = monotonic()
        for owner, inboxes in list(self._elsewhere.items()):
            current = {inbox: until for inbox, until in inboxes.items() if until > now}
            if current:
                self._elsewhere[owner] = current
            else:
                del self._elsewhere[owner]

    async def _say(self, owners: Iterable[Owner]) -> None:
        """Say whose events are wanted here."""
        await self._publish(self._wishes, {"inbox": self._inbox, "owners": list(owners)})

    async def _send(self) -> None:
        """Send what is to be told elsewhere, all of it that waits at once."""
        while True:
            await self._something.wait()
            self._something.clear()
            batches: dict[Inbox, list[_Told]] = {}
            while self._unsent:
                inbox, told = self._unsent.popleft()
                batches.setdefault(inbox, []).append(told)
            for inbox, batch in batches.items():
                await self._publish(inbox, batch)

    async def _publish(self, channel: str, what: object) -> None:
        try:
            await self._redis.execute("PUBLISH", channel, orjson.dumps(what))
        except RedisUnavailable:
            log.debug("events are lost: Redis is away")

    async def _read(self) -> None:
        """Read both channels, on a new connection whenever one breaks."""
        while True:
            try:
                async with aclosing(self._messages()) as messages:
                    async for channel, data in messages:
                        self._take(channel, data)
            except (RedisError, RedisClusterException, OSError) as error:
                log.debug("live events of other replicas are away: %s", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _messages(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """Yield what comes; end when the connection is silent for too long."""
        async with self._redis.client.pubsub() as reader:
            await reader.subscribe(self._inbox, self._wishes)
            if self._names:
                await self._say(self._names)
            tried = False
            while True:
                message = await reader.get_message(timeout=SILENCE_SECONDS)
                if message is not None:
                    tried = False
                    if message["type"] == "message":
                        yield message["channel"].decode(), message["data"]
                elif tried:
                    return
                else:
                    tried = True
                    await reader.ping()

    def _take(self, channel: str, data: bytes) -> None:
        try:
            if channel == self._wishes:
                self._take_wishes(**orjson.loads(data))
            else:
                for owner, kind, content in orjson.loads(data):
                    self._deliver(owner, Event(kind, content))
        except (TypeError, ValueError):
            log.warning("a message of live events cannot be read")

    def _take_wishes(self, inbox: Inbox, owners: list[str]) -> None:
        if inbox == self._inbox:
            return
        until = monotonic() + self._lease
        for owner in owners:
            self._elsewhere.setdefault(Owner(owner), {})[inbox] = until

    def _deliver(self, owner: str, event: Event) -> None:
        namespace = self._names.get(cast("Owner", owner))
        if namespace is not None:
            self._here.publish(namespace, event)
