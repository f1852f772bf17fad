"""What searches may not see yet: who was written to, and refreshes that many share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.client import send
from memgpt_proxy.stores.elasticsearch.indices import REFRESH_SECONDS
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.records import Owner

MARGIN_SECONDS = 2.0
"""What a refresh of the server's own may take, beyond its interval."""


@dataclass(slots=True)
class _Index:
    """One index: when whose was written last, and its refreshes.

    Attributes:
        written: Oldest first, in seconds of the loop's clock.
        refreshed: When the last refresh began that is over.
        running: The refresh under way.
    """

    written: OrderedDict[Owner, float] = field(default_factory=OrderedDict)
    refreshed: float = float("-inf")
    running: asyncio.Task[None] | None = None


class Freshness:
    """Knows when a search needs a refresh first, and makes no more of them than it has to.

    Attributes:
        always: Refresh before every search: others may write, and nobody tells.
    """

    def __init__(self, client: AsyncElasticsearch) -> None:
        self.always = False
        self._client = client
        self._indices: dict[str, _Index] = {}

    def wrote(self, index: str, owner: Owner) -> None:
        """Something of this owner has been written, or is by now."""
        now = asyncio.get_running_loop().time()
        written = self._indices.setdefault(index, _Index()).written
        written[owner] = now
        written.move_to_end(owner)
        while next(iter(written.values())) < now - REFRESH_SECONDS - MARGIN_SECONDS:
            written.popitem(last=False)

    async def ensure(self, index: str, owner: Owner) -> None:
        """Return once a search finds what was written before this call."""
        state = self._indices.setdefault(index, _Index())
        now = asyncio.get_running_loop().time()
        written = now if self.always else state.written.get(owner, float("-inf"))
        if written < now - REFRESH_SECONDS - MARGIN_SECONDS:
            return
        while state.refreshed < written:
            await asyncio.shield(self._refresh(index, state))

    async def close(self) -> None:
        """Break off the refreshes under way."""
        await ended(state.running for state in self._indices.values() if state.running)

    def _refresh(self, index: str, state: _Index) -> asyncio.Task[None]:
        """Return the refresh under way, or begin one; there is never a second of an index."""
        if state.running is None:
            loop = asyncio.get_running_loop()
            state.running = loop.create_task(self._run(index, state))
            state.running.add_done_callback(_seen)
        return state.running

    async def _run(self, index: str, state: _Index) -> None:
        began = asyncio.get_running_loop().time()
        try:
            await send(self._client, "POST", f"/{index}/_refresh")
            state.refreshed = began
        finally:
            state.running = None


def _seen(refresh: asyncio.Task[None]) -> None:
    """Take note of how it ended: those who waited for it may all have left."""
    if not refresh.cancelled():
        refresh.exception()
