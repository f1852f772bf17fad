"""Traces of turns in Elasticsearch: found by their owner and time, their content only kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import Access, Search
from memgpt_proxy.stores.elasticsearch.bulk import Action
from memgpt_proxy.stores.elasticsearch.erasing import erased_at
from memgpt_proxy.stores.elasticsearch.names import document_id, term
from memgpt_proxy.stores.records import MOST_TRACES, Owner, Trace, TurnId

Json = dict[str, Any]

_NEWEST_FIRST = [{"created": "desc"}, {"id": "desc"}]
_PRUNING = "A"
"""What the id of a trace begins with that has older ones deleted: that of one in 64."""


async def keep(access: Access, kept: Mapping[Owner, Sequence[Trace]], written: int) -> None:
    """Keep traces, of all owners at once, but those of turns begun before an erasure.

    Args:
        written: When that is, as all documents bear it.
    """
    await asyncio.gather(*(_keep(access, *of_owner, written) for of_owner in kept.items()))


async def read(
    access: Access, owner: Owner, limit: int, before: tuple[float, TurnId] | None
) -> tuple[Trace, ...]:
    """Return traces, the newest first."""
    rest: Json = {"sort": _NEWEST_FIRST, "size": limit, "track_total_hits": False}
    if before is not None:
        rest["search_after"] = [before[0], term(before[1])]
    answer = await access.search(owner, access.names.traces, Search(rest=rest))
    return tuple(documents.trace(hit["_source"]) for hit in answer["hits"]["hits"])


async def _keep(access: Access, owner: Owner, traces: Sequence[Trace], written: int) -> None:
    erased = await erased_at(access, owner)
    actions = [
        Action(
            "create",
            access.names.traces,
            document_id(owner, documents.TRACE, trace.turn),
            documents.of_trace(owner, trace, written),
        )
        for trace in traces
        if trace.created >= erased
    ]
    for outcome in await access.write(owner, actions):
        if not outcome.conflicts:  # else it is there already
            outcome.raise_failure()
    if any(action.id.startswith(_PRUNING) for action in actions):
        await _prune(access, owner)


async def _prune(access: Access, owner: Owner) -> None:
    index = access.names.traces
    first = {"from": MOST_TRACES - 1, "size": 1, "sort": _NEWEST_FIRST, "_source": ["created"]}
    answer = await access.search(owner, index, Search(rest=first))
    for hit in answer["hits"]["hits"]:
        older = {"range": {"created": {"lt": hit["_source"]["created"]}}}
        await access.delete(owner, index, Search(filters=[older]))
