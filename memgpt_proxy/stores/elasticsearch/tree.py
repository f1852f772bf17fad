"""Ways through the transcript tree: up to the root, and down level by level."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import Access, Search, Wanted
from memgpt_proxy.stores.elasticsearch.documents import NODE
from memgpt_proxy.stores.elasticsearch.names import term
from memgpt_proxy.stores.records import MOST_AFTER, Node, NodeId, Owner
from memgpt_proxy.stores.storable import clean

Json = dict[str, Any]

MOST_PARENTS = 1_000
"""Messages whose children one search looks for."""


async def nodes_up(
    access: Access,
    owner: Owner,
    name: NodeId,
    known: dict[str, Json] | None = None,
    hints: Sequence[NodeId] = (),
) -> AsyncIterator[Node]:
    """Yield a node and those before it, nearest first, with few look-ups.

    Args:
        access: The store.
        owner: Whose they are.
        name: The node to begin with.
        known: Documents of nodes that are at hand, by name.
        hints: Names of what probably comes before it, nearest first, to be looked up at once.
    """
    at_hand = dict(known or {})
    asked = list(hints)
    above: str = clean(name)
    depth = math.inf
    while True:
        if above not in at_hand:
            names = list(dict.fromkeys([above, *map(clean, asked)]))
            at_hand |= await node_documents(access, owner, [n for n in names if n not in at_hand])
            asked = []
        if (document := at_hand.pop(above, None)) is None:
            return
        node = documents.node(document)
        if node.depth >= depth:
            return
        yield node
        depth = node.depth
        if depth == 0:
            return
        asked = document.get("lineage") or asked
        above = node.parent


async def node_documents(access: Access, owner: Owner, names: Sequence[str]) -> dict[str, Json]:
    """Return the documents of the nodes that there are, by name."""
    wanted = [Wanted(access.names.transcript, NODE, name) for name in names]
    found = await access.get(owner, wanted)
    return {name: each.source for name, each in zip(names, found, strict=True) if each}


async def path(
    access: Access,
    owner: Owner,
    name: NodeId,
    length: int,
    known: dict[str, Json] | None = None,
    hints: Sequence[NodeId] = (),
) -> tuple[Node, ...]:
    """Return a node and those before it, ``length`` at most, oldest first."""
    found: list[Node] = []
    if length > 0:
        async for node in nodes_up(access, owner, name, known, hints[: length - 1]):
            found.append(node)
            if len(found) == length:
                break
    return tuple(reversed(found))


async def after(
    access: Access, owner: Owner, name: NodeId, first: Sequence[Node] | None = None
) -> tuple[Node, ...]:
    """Return what follows a node, nearest first, of equally near ones the newest.

    ``first`` are its children, where they are known.
    """
    level = await below(access, owner, [name]) if first is None else list(first)
    found = list(level)
    while level and len(found) < MOST_AFTER:
        level = await below(access, owner, [node.id for node in level])
        found += level
    return tuple(found[:MOST_AFTER])


async def below(access: Access, owner: Owner, parents: Sequence[NodeId]) -> list[Node]:
    """Return what hangs on some nodes, ``MOST_AFTER`` at most: the newest."""
    newest: list[Json] = [{"created": "desc"}, {"id": "asc"}]
    search = Search(
        filters=[{"terms": {"parent": [term(name) for name in parents]}}],
        rest={"size": MOST_AFTER, "sort": newest, "track_total_hits": False},
    )
    answer = await access.search(owner, access.names.transcript, search)
    return [documents.node(hit["_source"]) for hit in answer["hits"]["hits"]]


async def levels_below(
    access: Access, owner: Owner, names: Sequence[NodeId], before: int
) -> AsyncIterator[list[Json]]:
    """Yield the nodes behind some, level by level: parts of their documents.

    Those of them that are stored later than ``before`` are left out, with all behind them.
    """
    await access.freshness.ensure(access.names.transcript, owner)
    level: list[str] = list(names)
    passed = set(level)
    while level:
        found: list[Json] = []
        for start in range(0, len(level), MOST_PARENTS):
            found += await _all_children(access, owner, level[start : start + MOST_PARENTS], before)
        if found:
            yield found
        below = [document.get("name", {}).get("id", document["id"]) for document in found]
        level = [name for name in below if name not in passed]
        passed.update(level)


async def _all_children(
    access: Access, owner: Owner, parents: Sequence[str], before: int
) -> list[Json]:
    """Return all that hangs on some nodes, however many there are."""
    search = Search(
        filters=[
            {"terms": {"parent": [term(name) for name in parents]}},
            {"range": {"stored": {"lt": before}}},
        ],
        rest={"sort": [{"stored": "asc"}, {"id": "asc"}], "_source": ["id", "name", "abandoned"]},
    )
    walk = access.walk(owner, access.names.transcript, search, fresh=False)
    return [hit["_source"] async for hits in walk for hit in hits]
