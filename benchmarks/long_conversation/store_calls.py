"""Calls and bytes of the store: the gateway in this process, with a store that counts.

There is no socket in this run, so that what the process reads and writes is its database.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from benchmarks.long_conversation.backend import WINDOW, Backend
from benchmarks.long_conversation.client import Sends
from benchmarks.long_conversation.plan import Plan
from memgpt_proxy import storage
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.hot import HotStore

Calls = dict[str, float]
"""How often each method is called, in a turn."""


class Counted:
    """A store that counts its calls."""

    def __init__(self, store: Any, calls: Counter[str]) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not iscoroutinefunction(method):
            return method

        async def counted(*arguments: Any, **named: Any) -> Any:
            self._calls[name] += 1
            return await method(*arguments, **named)

        return counted


@dataclass(frozen=True, slots=True)
class StoreUse:
    """What one turn asks of the store, what of it reaches the database, and bytes there."""

    asked: Calls
    embedded: Calls
    read: float
    written: float


@dataclass(slots=True)
class _Total:
    asked: Counter[str] = field(default_factory=Counter)
    embedded: Counter[str] = field(default_factory=Counter)
    read: int = 0
    written: int = 0

    def __sub__(self, earlier: "_Total") -> "_Total":
        return _Total(
            self.asked - earlier.asked,
            self.embedded - earlier.embedded,
            self.read - earlier.read,
            self.written - earlier.written,
        )

    def __add__(self, other: "_Total") -> "_Total":
        return _Total(
            self.asked + other.asked,
            self.embedded + other.embedded,
            self.read + other.read,
            self.written + other.written,
        )


@dataclass(slots=True)
class CountingGateway:
    """The gateway in process."""

    client: httpx.AsyncClient
    asked: Counter[str]
    embedded: Counter[str]

    async def use(self, plan: Plan, length: int, sends: Sends) -> StoreUse:
        """What a turn at this length uses, flushes included."""
        used, turns = _Total(), 0
        async for conversation in plan.conversations(self.client, length, sends):
            before = self._total()
            for _ in range(plan.turns_of_one(length)):
                await conversation.ask(self.client, conversation.next_request(sends), sends)
                turns += 1
            used += self._total() - before
        return StoreUse(
            {name: calls / turns for name, calls in used.asked.items()},
            {name: calls / turns for name, calls in used.embedded.items()},
            used.read / turns,
            used.written / turns,
        )

    def _total(self) -> _Total:
        fields = dict(line.split(": ") for line in _own_io().splitlines())
        read, written = int(fields["rchar"]), int(fields["wchar"])
        return _Total(self.asked.copy(), self.embedded.copy(), read, written)


@asynccontextmanager
async def counting_gateway(data_dir: Path) -> AsyncIterator[CountingGateway]:
    """The gateway in front of the mock backend, both in this process, without a socket."""
    asked, embedded = Counter[str](), Counter[str]()

    def counted(store: Any, max_bytes: int, **named: Any) -> Counted:
        return Counted(HotStore(Counted(store, embedded), max_bytes, **named), asked)

    settings = Settings(data_dir=data_dir, context_window=WINDOW)
    backend = httpx.ASGITransport(Backend().app())
    with patch.object(storage, "HotStore", counted):
        app = create_app(settings, "http://backend/v1", transport=backend)
    transport = httpx.ASGITransport(app)
    async with (
        app.opened(),
        httpx.AsyncClient(base_url="http://gateway", transport=transport) as client,
    ):
        yield CountingGateway(client, asked, embedded)


def _own_io() -> str:
    return Path("/proc/self/io").read_text()
