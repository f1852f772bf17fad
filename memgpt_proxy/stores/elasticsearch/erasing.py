"""Removing all that an owner has, and the mark that says when that was.

The mark is written first, and stays: what was made earlier and waits in a journal of any process
is not stored after it. It bears the owner's hash and a time, nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import MOST_DELETED, Access, Json, Search
from memgpt_proxy.stores.elasticsearch.bulk import Action
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.documents import (
    CONVERSATION,
    ERASED,
    HEAD,
    NODE,
    PASSAGE,
    QUEUE,
    TRACE,
    VERSION,
)
from memgpt_proxy.stores.elasticsearch.lookups import Wanted
from memgpt_proxy.stores.elasticsearch.names import document_id
from memgpt_proxy.stores.protocols import Remains
from memgpt_proxy.stores.records import Holdings, Owner

MOST_PASSES = 3
"""How often a memory is erased anew that others go on to write."""

_NS = 1e9

_ALL_BUT_MARK: Json = {"bool": {"must_not": {"term": {"kind": ERASED}}}}


def _mark(access: Access) -> Wanted:
    return Wanted(access.names.contexts, ERASED, ERASED)


async def erased_at(access: Access, owner: Owner) -> float:
    """Return when an owner's records were last erased, in seconds since the epoch, or 0.0."""
    (found,) = await access.get(owner, [_mark(access)])
    return found.source["written"] / _NS if found else 0.0


async def erase(access: Access, clock: Clock, owner: Owner) -> Holdings:
    """Remove all that an owner has; see ``Store.erase``."""
    await _set_mark(access, clock, owner)
    there = left = await holdings(access, owner)
    for _ in range(MOST_PASSES):
        # Texts go before their vectors: see ``ElasticsearchVectors.put_vectors``.
        for index in (*_indices(access), _vectors(access)):
            await _delete(access, owner, index)
        left = await holdings(access, owner)
        if not left.records:
            return there
    raise Remains(f"{left.records} records are left: something goes on to write them")


async def holdings(access: Access, owner: Owner) -> Holdings:
    """Return how many documents an owner has, by kind, whoever has just written them."""
    names = _indices(access)
    found = await asyncio.gather(*(_of_kinds(access, owner, index) for index in names))
    kinds = {kind: count for counts in found for kind, count in counts.items()}
    # A head tells of versions, and is none: one that is left alone counts all the same.
    versions = kinds.get(VERSION, 0) or kinds.get(HEAD, 0)
    return Holdings(
        messages=kinds.get(NODE, 0),
        queue_states=kinds.get(QUEUE, 0),
        conversations=kinds.get(CONVERSATION, 0),
        passages=kinds.get(PASSAGE, 0),
        working_contexts=versions,
        traces=kinds.get(TRACE, 0),
        vectors=await _count(access, owner, _vectors(access)),
    )


async def _set_mark(access: Access, clock: Clock, owner: Owner) -> None:
    wanted = _mark(access)
    source = documents.of_erased(owner, clock.now())
    name = document_id(owner, wanted.kind, wanted.name)
    (outcome,) = await access.write(owner, [Action("index", wanted.index, name, source)])
    outcome.raise_failure()


async def _delete(access: Access, owner: Owner, index: str) -> None:
    """Delete an owner's documents in an index, so many at a time."""
    await _see_all(access, owner, index)
    while await access.delete(owner, index, Search(filters=[_ALL_BUT_MARK])) >= MOST_DELETED:
        await _see_all(access, owner, index)  # those that are gone are not to be found again


async def _see_all(access: Access, owner: Owner, index: str) -> None:
    """Have the next search find all that is there, whoever has just written it."""
    access.freshness.wrote(index, owner)
    await access.freshness.ensure(index, owner)


async def _of_kinds(access: Access, owner: Owner, index: str) -> dict[str, int]:
    await _see_all(access, owner, index)
    rest = {"size": 0, "aggs": {"kinds": {"terms": {"field": "kind", "size": 100}}}}
    answer = await access.search(owner, index, Search(filters=[_ALL_BUT_MARK], rest=rest))
    buckets = answer["aggregations"]["kinds"]["buckets"]
    return {bucket["key"]: bucket["doc_count"] for bucket in buckets}


async def _count(access: Access, owner: Owner, index: str) -> int:
    await _see_all(access, owner, index)
    rest = {"size": 0, "track_total_hits": True}
    answer = await access.search(owner, index, Search(rest=rest))
    return int(answer["hits"]["total"]["value"])


def _indices(access: Access) -> Sequence[str]:
    names = access.names
    return (names.transcript, names.passages, names.contexts, names.traces)


def _vectors(access: Access) -> str:
    """Return the name of the indices of all spaces, of those that nobody uses any more too."""
    return f"{access.names.prefix}-vectors-*"
