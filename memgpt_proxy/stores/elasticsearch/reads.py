"""What a turn reads: by id, and by key where a name may be one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from memgpt_proxy.stores.elasticsearch import contexts, documents, tree
from memgpt_proxy.stores.elasticsearch.access import Access, Belonging, Search
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.documents import CONVERSATION, NODE, QUEUE
from memgpt_proxy.stores.elasticsearch.indices import MOST_TOLD
from memgpt_proxy.stores.elasticsearch.lookups import Wanted
from memgpt_proxy.stores.elasticsearch.names import term
from memgpt_proxy.stores.records import (
    ContentId,
    Conversation,
    Counts,
    Node,
    NodeId,
    Owner,
    QueueState,
    TurnState,
)

Json = dict[str, Any]

FIRST_LOOK = 8
"""Ids at a chain's end that are looked up first, at least: mostly one of them is known."""

MOST_LOOKED = 64
"""Ids of which all is read at once; of more it is first asked which of them there are."""

FURTHER_LOOKS = 16
"""Each further look up a chain is so many times longer than the one before."""

MOST_HINTS = 500
"""Messages of a branch that are read by the request's own chain."""

MOST_CONTENTS = 1_000
"""Contents that one search looks for."""

_NEWEST_STORED: list[Json] = [{"created": "desc"}, {"stored": "desc"}]


@dataclass(slots=True)
class _Known:
    """What is known of a chain.

    Attributes:
        length: Number of leading messages that are stored.
        last: The document of the last of them.
        at_hand: Documents of nodes, by name.
        opened: How many messages the chain's first key stands for.
    """

    length: int = 0
    last: Json | None = None
    at_hand: dict[str, Json] = field(default_factory=dict)
    opened: int = 0


async def read_turn(
    access: Access, clock: Clock, owner: Owner, chain: Sequence[NodeId], enough: int
) -> TurnState:
    """Find the last known key of ``chain``, and read what a turn that follows it needs."""
    look = max(FIRST_LOOK, len(chain) - enough + 1)
    known, (head,) = await asyncio.gather(
        _known(access, owner, chain, look), access.get(owner, [contexts.head(access)])
    )
    if known.last is None:
        (context, _), all_counts = await asyncio.gather(
            contexts.newest(access, clock, owner, head), counts(access, owner)
        )
        return TurnState(0, (), None, context, all_counts)
    last = documents.node(known.last)
    (context, _), state, first = await asyncio.gather(
        contexts.newest(access, clock, owner, head),
        queue_state(access, owner, last.queue),
        tree.below(access, owner, [last.id]),
    )
    nodes, after, counted = await asyncio.gather(
        _branch(access, owner, chain[: known.length], last, state, known.at_hand),
        tree.after(access, owner, last.id, first),
        _counts_without(access, owner, state),
    )
    shared = known.opened > 1
    return TurnState(known.length, nodes, state, context, counted, after, shared=shared)


async def _known(access: Access, owner: Owner, chain: Sequence[NodeId], look: int) -> _Known:
    """Find the last known key; it is looked for in the last ``look`` keys first."""
    end = len(chain)
    opening = list(chain[:1])
    while end > 0:
        start = max(0, end - look)
        if end - start > MOST_LOOKED:
            position = await _last_position(access, owner, chain[start:end])
            end, look = start + position, look * FURTHER_LOOKS
            if position == 0:
                continue
            start = max(0, end - FIRST_LOOK)
        keys = chain[start:end]
        by_id, by_key = await asyncio.gather(
            tree.node_documents(access, owner, [*opening, *keys]),
            _of_keys(access, owner, [*opening, *keys]),
        )
        for position in range(len(keys), 0, -1):
            if (last := _newest(keys[position - 1], by_id, by_key)) is not None:
                at_hand = {**by_id, documents.node(last).id: last}
                opened = (chain[0] in by_id) + by_key.get(term(chain[0]), _NONE).twins
                return _Known(start + position, last, at_hand, opened)
        end, look = start, look * FURTHER_LOOKS
    return _Known()


def _newest(key: NodeId, by_id: dict[str, Json], by_key: dict[str, _OfKey]) -> Json | None:
    """Return the document that a key stands for."""
    found = [by_id.get(key), by_key.get(term(key), _NONE).newest]
    there = [each for each in found if each is not None]
    return max(there, key=lambda each: (each["created"], each["stored"]), default=None)


async def _last_position(access: Access, owner: Owner, keys: Sequence[NodeId]) -> int:
    """Return how many of many keys there are up to the last that is known."""
    wanted = [Wanted(access.names.transcript, NODE, key) for key in keys]
    by_id, by_key = await asyncio.gather(
        access.get(owner, wanted, whole=False), _of_keys(access, owner, keys)
    )
    known = (
        position
        for position, (key, found) in enumerate(zip(keys, by_id, strict=True), start=1)
        if found is not None or term(key) in by_key
    )
    return max(known, default=0)


class _OfKey(NamedTuple):
    """Of a key: how many nodes have it that is not their id, and the newest of them."""

    twins: int
    newest: Json | None


_NONE = _OfKey(0, None)


async def _of_keys(access: Access, owner: Owner, keys: Sequence[NodeId]) -> dict[str, _OfKey]:
    """Return what nodes have some keys that are not their ids, by the keys' terms."""
    terms = list({term(key) for key in keys})
    newest = {"size": 1, "sort": _NEWEST_STORED}
    buckets = {"field": "key", "size": len(terms)}
    aggregation: Json = {"terms": buckets, "aggs": {"newest": {"top_hits": newest}}}
    search = Search(
        filters=[{"terms": {"key": terms}}],
        rest={"size": 0, "track_total_hits": False, "aggs": {"keys": aggregation}},
    )
    answer = await access.search(owner, access.names.transcript, search)
    return {
        bucket["key"]: _OfKey(bucket["doc_count"], bucket["newest"]["hits"]["hits"][0]["_source"])
        for bucket in answer["aggregations"]["keys"]["buckets"]
    }


async def _branch(
    access: Access,
    owner: Owner,
    chain: Sequence[NodeId],
    last: Node,
    state: QueueState | None,
    at_hand: dict[str, Json],
) -> tuple[Node, ...]:
    """Return the nodes from the queue's start to the last; mostly the chain names them."""
    start = state.start if state is not None else 0
    length = last.depth - start + 1
    hints = [*reversed(chain[:-1])][: min(MOST_HINTS, max(0, length - 1))]
    nodes = await tree.path(access, owner, last.id, length, at_hand, hints)
    return tuple(node for node in nodes if node.depth >= start)


async def queue_state(access: Access, owner: Owner, name: NodeId) -> QueueState | None:
    """Return the queue state that is kept at a node."""
    (found,) = await access.get(owner, [Wanted(access.names.transcript, QUEUE, name)])
    return documents.queue(found.source) if found else None


async def conversation(access: Access, owner: Owner, name: NodeId) -> Conversation | None:
    """Return the conversation of this name."""
    (found,) = await access.get(owner, [Wanted(access.names.transcript, CONVERSATION, name)])
    return documents.conversation(found.source) if found else None


async def with_content(
    access: Access, owner: Owner, contents: Sequence[ContentId], limit: int
) -> tuple[Node, ...]:
    """Return the newest nodes of each content, ``limit`` at most of one, newest first."""
    if limit <= 0:
        return ()
    terms = list({term(content) for content in contents})
    found: list[Json] = []
    for start in range(0, len(terms), MOST_CONTENTS):
        found += await _of_contents(access, owner, terms[start : start + MOST_CONTENTS], limit)
    found.sort(key=lambda each: (each["created"], each["stored"]), reverse=True)
    return tuple(map(documents.node, found))


async def _of_contents(
    access: Access, owner: Owner, terms: Sequence[str], limit: int
) -> list[Json]:
    newest = {"size": min(limit, MOST_TOLD), "sort": _NEWEST_STORED}
    buckets = {"field": "content", "size": len(terms)}
    aggregation: Json = {"terms": buckets, "aggs": {"newest": {"top_hits": newest}}}
    search = Search(
        filters=[{"terms": {"content": list(terms)}}],
        rest={"size": 0, "track_total_hits": False, "aggs": {"contents": aggregation}},
    )
    answer = await access.search(owner, access.names.transcript, search)
    return [
        hit["_source"]
        for bucket in answer["aggregations"]["contents"]["buckets"]
        for hit in bucket["newest"]["hits"]["hits"]
    ]


async def counts(access: Access, owner: Owner) -> Counts:
    """Return how many messages and passages there are."""
    names = access.names
    messages, passages = await asyncio.gather(
        _count(access, owner, names.transcript, "said"),
        _count(access, owner, names.passages, "shown"),
    )
    return Counts(messages, passages)


async def _counts_without(access: Access, owner: Owner, state: QueueState | None) -> Counts | None:
    """Return the counts where a prompt shows them: a queue with a state has its own."""
    return await counts(access, owner) if state is None else None


async def _count(access: Access, owner: Owner, index: str, belonging: Belonging) -> int:
    """Count by one term, which the index keeps count of."""
    search = Search(belonging=belonging, rest={"size": 0, "track_total_hits": True})
    answer = await access.search(owner, index, search)
    total: int = answer["hits"]["total"]["value"]
    return total
