"""Copying what owners have from one store to another until both have the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from memgpt_proxy.moving.progress import Advance
from memgpt_proxy.moving.state import Stand, State
from memgpt_proxy.stores.portable import START, PortableStore
from memgpt_proxy.stores.records import Owner
from memgpt_proxy.stores.tally import Tally, tally

AT_ONCE = 4
"""Owners that are copied at the same time."""

PASSES = 2
"""A state from an earlier day may lack what was changed since: that comes with the second."""

LIVE_PASSES = 20

Show = Callable[[str, int, int], AbstractContextManager[Advance]]
"""Shows what is done, of how many records, and how many of them are done."""


@dataclass(slots=True)
class Verdict:
    """What both stores have in the end.

    Attributes:
        source: All that the source has of the owners that were moved.
        destination: All that the destination has of them.
        differing: The kinds in which they differ, by owner.
    """

    source: Tally = field(default_factory=Tally)
    destination: Tally = field(default_factory=Tally)
    differing: dict[Owner, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """A move from one store to another.

    Attributes:
        source: What is copied from; nothing in it changes.
        destination: What is copied to.
        only: The one owner to move; all if None.
        state: How far it has come.
        show: Shows how far it has come.
    """

    source: PortableStore
    destination: PortableStore
    only: Owner | None
    state: State
    show: Show

    async def run(self, passes: int = PASSES) -> Verdict:
        """Copy, compare, and copy again what differs, until nothing does or passes are over.

        Raises StoreError when one of the stores does.
        """
        owners = await self._owners()
        size = await self.source.size(self.only)
        with self.show("Copying", size, self.state.records) as advance:
            await _each(owners, lambda owner: self._copy(owner, advance))
        verdict = await self._compare()
        for _ in range(passes - 1):
            if not verdict.differing:
                break
            await self._copy_again(verdict)
            verdict = await self._compare()
        return verdict

    async def _owners(self) -> Sequence[Owner]:
        if self.only is not None:
            return [self.only]
        return [owner async for owner in self.source.owners()]

    async def _copy(self, owner: Owner, advance: Advance) -> None:
        """Copy what an owner has, from where it was left."""
        stand = self.state.of(owner)
        if stand.done:
            return
        async for portion in self.source.export(owner, stand.mark):
            await self.destination.take_over(owner, portion.records)
            stand = Stand(portion.mark, stand.records + len(portion.records))
            self.state.reached(owner, stand)
            advance(len(portion.records))
        self.state.reached(owner, Stand(stand.mark, stand.records, done=True))

    async def _copy_again(self, verdict: Verdict) -> None:
        owners = list(verdict.differing)
        size = sum([await self.source.size(owner) for owner in owners])

        async def copy(owner: Owner) -> None:
            async for portion in self.source.export(owner, START):
                await self.destination.take_over(owner, portion.records)
                advance(len(portion.records))

        with self.show("Copying what has changed", size, 0) as advance:
            await _each(owners, copy)

    async def _compare(self) -> Verdict:
        verdict = Verdict()

        async def compare(owner: Owner) -> None:
            theirs, ours = await asyncio.gather(
                tally(self.source, owner), tally(self.destination, owner)
            )
            verdict.source.join(theirs)
            verdict.destination.join(ours)
            if kinds := theirs.differing(ours):
                verdict.differing[owner] = kinds
            advance(theirs.records)

        with self.show("Comparing", await self.source.size(self.only), 0) as advance:
            await _each(await self._owners(), compare)
        return verdict


async def _each(owners: Iterable[Owner], work: Callable[[Owner], Awaitable[None]]) -> None:
    """Do some work for each owner, for a few at the same time; raises the first error."""
    waiting = iter(owners)

    async def worker() -> None:
        for owner in waiting:
            await work(owner)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
