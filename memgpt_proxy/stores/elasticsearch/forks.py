"""Leaving one branch for another: what is left is abandoned with all behind it.

A branch may be thousands of messages deep, and each level costs a search. So a commit waits for the
first levels only; the store goes on with the others by itself. Where it ends before that, the
rest of the branch stays live until the same fork is committed again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from memgpt_proxy.stores.elasticsearch.access import Access
from memgpt_proxy.stores.elasticsearch.bulk import Action
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.documents import NODE
from memgpt_proxy.stores.elasticsearch.names import document_id
from memgpt_proxy.stores.elasticsearch.tree import levels_below, nodes_up
from memgpt_proxy.stores.records import Fork, NodeId, Owner
from memgpt_proxy.stores.storable import clean

Json = dict[str, Any]

MOST_MARKED = 500
"""Nodes that are marked by one write."""

STEPS_WAITED = 16
"""Steps that a commit waits for."""


async def steps_of(
    access: Access, clock: Clock, owner: Owner, left: Fork, before: int
) -> AsyncIterator[None]:
    """Carry out a fork, and yield after each step, so that a caller may go on elsewhere.

    What is stored later than ``before`` stays live. Raises StoreUnavailable; it may be repeated.
    """
    live = {clean(name) for name in left.kept}
    if left.taken_up is not None:
        async for names in _up(access, owner, left.taken_up):
            live |= set(names)
            await _mark(access, clock, owner, names, abandoned=False)
            yield
    beginning = [clean(name) for name in left.left]
    await _mark(access, clock, owner, [n for n in beginning if n not in live], abandoned=True)
    yield
    waiting: list[str] = []
    levels = levels_below(access, owner, [NodeId(n) for n in beginning], before)
    async for depth, level in _numbered(levels):
        waiting += [name for name in _live_in(level) if name not in live]
        if depth < STEPS_WAITED or len(waiting) >= MOST_MARKED:
            await _mark(access, clock, owner, waiting, abandoned=True)
            waiting = []
        yield
    await _mark(access, clock, owner, waiting, abandoned=True)


def _live_in(level: Iterable[Json]) -> Iterator[str]:
    for document in level:
        if not document["abandoned"]:
            yield document.get("name", {}).get("id", document["id"])


async def _numbered(levels: AsyncIterator[list[Json]]) -> AsyncIterator[tuple[int, list[Json]]]:
    number = 0
    async for level in levels:
        yield number, level
        number += 1


async def _up(access: Access, owner: Owner, name: NodeId) -> AsyncIterator[list[str]]:
    """Yield what is on the way up to the root, some at a time."""
    names: list[str] = []
    async for node in nodes_up(access, owner, name):
        names.append(node.id)
        if len(names) == MOST_MARKED:
            yield names
            names = []
    yield names


async def _mark(
    access: Access, clock: Clock, owner: Owner, names: Sequence[str], *, abandoned: bool
) -> None:
    for start in range(0, len(names), MOST_MARKED):
        index = access.names.transcript
        actions = [
            Action(
                "update",
                index,
                document_id(owner, NODE, name),
                {"abandoned": abandoned, "written": clock.now()},
            )
            for name in names[start : start + MOST_MARKED]
        ]
        for outcome in await access.write(owner, actions):
            if not outcome.missing:
                outcome.raise_failure()
