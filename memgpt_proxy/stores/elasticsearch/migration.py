"""Moving an index to another version while it is in use.

The new index is made beside the old one and filled: first with everything, then, again and again,
with what was written since, until that is little. Then the old index takes no writes for a moment
(callers see StoreUnavailable, as when the server is away), the last of them are copied, and the
alias changes over. Each document is copied with its version number, which only replaces a lower
one; so a migration that was broken off is simply begun again, and skips what is there.

What was written since is told by a document's ``written``, which the writing process has set.
Clocks may differ by ``SKEW_SECONDS``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch import indices
from memgpt_proxy.stores.elasticsearch.client import Refused, send
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS, Layout, Names, version_of
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable

Json = dict[str, Any]
Progress = Callable[[str, int, int], None]
"""Is told the index that is copied, the documents copied, and how many there are."""

SKEW_SECONDS = 300
"""How far the clocks of those who write may differ."""

LITTLE = 1_000
"""Documents written during one pass that the last pass may take."""

MOST_PASSES = 10
"""Passes before the old index takes no more writes, however many come."""

POLL_SECONDS = 0.5
"""Between two looks at how far a pass is."""

LONG_SECONDS = 60.0
"""What a refresh or a block may take."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """An index that has taken over; the ``old`` one is left, and takes no writes."""

    alias: str
    old: str
    new: str


async def migrate(
    client: AsyncElasticsearch,
    names: Names,
    *,
    shards: int,
    progress: Progress,
    layouts: Sequence[Layout] = LAYOUTS,
) -> list[Migrated]:
    """Bring every index to the version of this release; create those that are missing.

    Raises StoreUnavailable where the server goes away: the same call goes on from there.
    """
    done = []
    for layout in layouts:
        alias, new = names.alias(layout), names.index(layout)
        old = await indices.behind(client, alias)
        if old is None:
            await indices.create(client, new, layout, shards, alias)
        elif version_of(old) < layout.version:
            await indices.create(client, new, layout, shards)
            await _Move(client, layout, Migrated(alias, old, new), progress).run()
            done.append(Migrated(alias, old, new))
    return done


@dataclass(frozen=True, slots=True)
class _Move:
    """One index on its way to another version."""

    client: AsyncElasticsearch
    layout: Layout
    move: Migrated
    progress: Progress

    async def run(self) -> None:
        """Copy, catch up, change over."""
        began = _before_now()
        await self._copy(0)
        for _ in range(MOST_PASSES):
            since, began = began, _before_now()
            if await self._copy(since) <= LITTLE:
                break
        async with self._blocked():
            await self._copy(began)
            await self._verify()
            await self._change_over()

    async def _copy(self, since: int) -> int:
        """Copy what was written since; return how many documents were, new or changed."""
        await self._refresh(self.move.old)
        body = self._reindex(since)
        params = {"wait_for_completion": "false", "slices": "auto"}
        answer = await send(self.client, "POST", "/_reindex", body, params=params)
        while not (told := await self._task(answer["task"]))["completed"]:
            await self._tell()
            await asyncio.sleep(POLL_SECONDS)
        await self._refresh(self.move.new)
        await self._tell()
        response = told.get("response", {})
        if "error" in told or response.get("failures"):
            reason = told.get("error") or response["failures"][0]
            raise StoreError(f"{self.move.old} cannot be copied: {_cause(reason)}")
        copied: int = response["created"] + response["updated"]
        return copied

    def _reindex(self, since: int) -> Json:
        source: Json = {"index": self.move.old, "size": 500}
        if since:
            source["query"] = {"range": {"written": {"gte": since}}}
        body: Json = {
            "conflicts": "proceed",  # what is there already, of the same version
            "source": source,
            "dest": {"index": self.move.new, "version_type": "external"},
        }
        if self.layout.upgrade:
            body["script"] = {"lang": "painless", "source": self.layout.upgrade}
        return body

    async def _task(self, name: str) -> Json:
        """Return how a pass stands. Raises StoreUnavailable where its node has ended."""
        try:
            told: Json = await send(self.client, "GET", f"/_tasks/{name}")
        except Refused as error:
            if error.status == 404:
                raise StoreUnavailable(f"copying {self.move.old} was broken off") from error
            raise
        return told

    async def _tell(self) -> None:
        done, total = await asyncio.gather(self._count(self.move.new), self._count(self.move.old))
        self.progress(self.move.alias, min(done, total), total)

    async def _count(self, index: str) -> int:
        answer = await send(self.client, "GET", f"/{index}/_count")
        count: int = answer["count"]
        return count

    async def _refresh(self, index: str) -> None:
        await send(self.client, "POST", f"/{index}/_refresh", seconds=LONG_SECONDS)

    @asynccontextmanager
    async def _blocked(self) -> AsyncIterator[None]:
        """Let the old index take no writes; again, where the other did not take over."""
        await send(self.client, "PUT", f"/{self.move.old}/_block/write", seconds=LONG_SECONDS)
        try:
            yield
        finally:
            if await indices.behind(self.client, self.move.alias) == self.move.old:
                settings = {"index.blocks.write": None}
                await send(self.client, "PUT", f"/{self.move.old}/_settings", settings)

    async def _verify(self) -> None:
        """Raise StoreError unless as many documents are in the new index as in the old."""
        done, total = await asyncio.gather(self._count(self.move.new), self._count(self.move.old))
        if done != total:
            raise StoreError(f"{self.move.new} has {done} documents of {total}")

    async def _change_over(self) -> None:
        """Let the alias stand for the new index, in one step."""
        leave = {"index": self.move.old, "alias": self.move.alias, "must_exist": True}
        take = {"index": self.move.new, "alias": self.move.alias}
        actions = {"actions": [{"remove": leave}, {"add": take}]}
        await send(self.client, "POST", "/_aliases", actions, seconds=LONG_SECONDS)


def _before_now() -> int:
    """Return the least ``written`` of what is written from now on, whoever writes it."""
    return time.time_ns() - SKEW_SECONDS * 10**9


def _cause(reason: Json) -> str:
    cause = reason.get("cause", reason)
    return f"{cause.get('type', 'error')}: {cause.get('reason', '')}"[:300]
