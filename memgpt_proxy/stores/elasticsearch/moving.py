"""Records on their way out of Elasticsearch and into it; see ``memgpt_proxy.stores.portable``.

Nodes go in the order in which they were stored: of two with one key and time, the later is meant,
and has to come later where they are taken over. Those that are stored while an export runs come
last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import orjson
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch import contexts, documents
from memgpt_proxy.stores.elasticsearch.access import Access, Search
from memgpt_proxy.stores.elasticsearch.bulk import Action
from memgpt_proxy.stores.elasticsearch.client import send
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.commits import lineages_of
from memgpt_proxy.stores.elasticsearch.documents import (
    CONVERSATION,
    ERASED,
    NODE,
    PASSAGE,
    QUEUE,
    VERSION,
)
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS, Names
from memgpt_proxy.stores.elasticsearch.lookups import Wanted
from memgpt_proxy.stores.elasticsearch.names import document_id
from memgpt_proxy.stores.portable import (
    ContextVersion,
    Mark,
    Portable,
    Portion,
    StoredPassage,
)
from memgpt_proxy.stores.records import (
    Conversation,
    Node,
    NodeId,
    Owner,
    QueueState,
)

Json = dict[str, Any]

PORTION = 200
"""Most records that are exported at once."""

FIRST_PORTION = 20
"""Records that are asked for before it is known how large they are."""

PORTION_BYTES = 4 << 20
"""Bytes of documents behind which a portion takes no further record."""

OWNERS = 1_000
"""Owners that are asked for at once."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A part of an export: the records of one kind.

    Attributes:
        index: Which of the names of the indices.
        kind: Of the records.
        order: Fields that tell each of them apart, in a steady order.
        read: Makes a record of a document.
    """

    index: Callable[[Names], str]
    kind: str
    order: Sequence[str]
    read: Callable[[Json], Portable]


def _transcript(names: Names) -> str:
    return names.transcript


_STAGES = (
    _Stage(_transcript, QUEUE, ("id",), documents.queue),
    _Stage(_transcript, NODE, ("stored", "id"), documents.node),
    _Stage(_transcript, CONVERSATION, ("id",), documents.conversation),
    _Stage(lambda names: names.passages, PASSAGE, ("id",), documents.passage),
    _Stage(lambda names: names.contexts, VERSION, ("version",), documents.version),
)


async def owners(client: AsyncElasticsearch, names: Names) -> AsyncIterator[Owner]:
    """Yield all owners, each once, in a steady order. It reads nothing else of anyone's."""
    every = ",".join(names.alias(layout) for layout in LAYOUTS)
    await send(client, "POST", f"/{every}/_refresh")
    source: Json = {"size": OWNERS, "sources": [{"owner": {"terms": {"field": "owner"}}}]}
    while True:
        query = {"bool": {"must_not": {"term": {"kind": ERASED}}}}
        body = {"size": 0, "query": query, "aggs": {"owners": {"composite": source}}}
        params = {"allow_partial_search_results": "false"}
        answer = await send(client, "POST", f"/{every}/_search", body, params=params)
        found = answer["aggregations"]["owners"]
        for bucket in found["buckets"]:
            yield Owner(bucket["key"]["owner"])
        if "after_key" not in found:
            return
        source = {**source, "after": found["after_key"]}


async def size(
    client: AsyncElasticsearch, access: Access, names: Names, owner: Owner | None
) -> int:
    """Return how many records an owner has, or all owners; those that searches see by now."""
    records: Json = {"terms": {"kind": [stage.kind for stage in _STAGES]}}
    aliases = [names.alias(layout) for layout in LAYOUTS]
    if owner is None:
        answer = await send(client, "POST", f"/{','.join(aliases)}/_count", {"query": records})
        return int(answer["count"])
    search = Search(filters=[records], rest={"size": 0, "track_total_hits": True})
    found = [await access.search(owner, alias, search) for alias in aliases]
    return sum(answer["hits"]["total"]["value"] for answer in found)


async def export(access: Access, owner: Owner, after: Mark) -> AsyncIterator[Portion]:
    """Yield all records of an owner behind a mark."""
    begin, behind = orjson.loads(after) if after else (0, None)
    for number, stage in enumerate(_STAGES[begin:], start=begin):
        async for hits in _pages(access, owner, stage, behind if number == begin else None):
            for taken in _bounded(hits):
                records = [stage.read(hit["_source"]) for hit in taken]
                yield Portion(records, Mark(orjson.dumps([number, taken[-1]["sort"]]).decode()))


async def _pages(
    access: Access, owner: Owner, stage: _Stage, behind: Sequence[Any] | None
) -> AsyncIterator[list[Json]]:
    """Yield a stage's hits, as many at a time as those before were small."""
    rest: Json = {"sort": [{field: "asc"} for field in stage.order], "track_total_hits": False}
    size = min(FIRST_PORTION, PORTION)
    while True:
        rest |= {"size": size} if behind is None else {"size": size, "search_after": behind}
        search = Search(filters=[{"term": {"kind": stage.kind}}], rest=rest)
        answer = await access.search(owner, stage.index(access.names), search)
        hits = answer["hits"]["hits"]
        if hits:
            yield hits
        if len(hits) < size:
            return
        behind = hits[-1]["sort"]
        size = max(1, min(PORTION, PORTION_BYTES // max(map(_bytes, hits))))


def _bounded(hits: Sequence[Json]) -> Iterator[Sequence[Json]]:
    """Yield all hits, in order, as many together as make one portion."""
    begin = taken = 0
    for number, hit in enumerate(hits, start=1):
        taken += _bytes(hit)
        if taken > PORTION_BYTES:
            yield hits[begin:number]
            begin, taken = number, 0
    if begin < len(hits):
        yield hits[begin:]


def _bytes(hit: Json) -> int:
    return len(orjson.dumps(hit["_source"]))


async def take_over(
    access: Access, clock: Clock, owner: Owner, records: Sequence[Portable]
) -> None:
    """Store records as they are, in place of those of the same name."""
    nodes = [record for record in records if isinstance(record, Node)]
    lineages = lineages_of(nodes, await _lineage(access, owner, nodes))
    actions = [_action(access.names, clock, owner, record, lineages) for record in records]
    for outcome in await access.write(owner, actions):
        outcome.raise_failure()
    versions = [record.version for record in records if isinstance(record, ContextVersion)]
    if versions:
        await _move_head(access, clock, owner, max(versions))


async def _lineage(access: Access, owner: Owner, nodes: Iterable[Node]) -> list[NodeId]:
    """Return what the first of some nodes hangs on, and those before that as far as is kept."""
    first = next(iter(nodes), None)
    if first is None or first.depth == 0:
        return []
    (above,) = await access.get(owner, [Wanted(access.names.transcript, NODE, first.parent)])
    if above is None:
        return [first.parent]
    parent = documents.node(above.source)
    kept = above.source.get("lineage", [parent.parent])
    return [first.parent, *kept] if parent.depth > 0 else [first.parent]


def _action(
    names: Names,
    clock: Clock,
    owner: Owner,
    record: Portable,
    lineages: dict[NodeId, tuple[NodeId, ...]],
) -> Action:
    index, kind, name, source = names.transcript, "", "", {}
    stored = clock.now()
    match record:
        case Node():
            kind, name = NODE, record.id
            source = documents.of_node(owner, record, stored, lineages.get(record.id, ()))
        case QueueState():
            kind, name = QUEUE, record.node
            source = documents.of_queue(owner, record, 0.0, stored)
        case Conversation():
            kind, name = CONVERSATION, record.name
            source = documents.of_conversation(owner, record, 0.0, stored)
        case StoredPassage():
            index, kind, name = names.passages, PASSAGE, record.passage.id
            source = documents.of_passage(owner, record.passage, stored, hidden=record.hidden)
        case ContextVersion():
            index, kind, name = names.contexts, VERSION, str(record.version)
            source = documents.of_version(owner, record, "", stored)
        case _:
            assert_never(record)
    return Action("index", index, document_id(owner, kind, name), source)


async def _move_head(access: Access, clock: Clock, owner: Owner, version: int) -> None:
    """Let the working context's head tell a version, if it tells none that is later."""
    (found,) = await access.get(owner, [contexts.head(access)])
    if found is not None and found.source["version"] >= version:
        return
    move = contexts.head_action(access, owner, version, found, clock.now())
    (outcome,) = await access.write(owner, [move])
    if not outcome.conflicts:
        outcome.raise_failure()
