"""Vectors in Elasticsearch: an index for each space, searched by its graph of neighbours.

A vector bears the name of its text, and nothing of it: hits are looked up among the messages or
passages as they are at this moment. The filter by owner is part of the search for neighbours, so
that these are the owner's nearest, however many vectors of others are nearer. It needs
Elasticsearch 8.12 or newer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any

import orjson

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import Access, Search
from memgpt_proxy.stores.elasticsearch.bulk import Action, Deletion
from memgpt_proxy.stores.elasticsearch.client import (
    Connection,
    Refused,
    answered,
    connect,
    send,
)
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.documents import NODE, PASSAGE
from memgpt_proxy.stores.elasticsearch.indices import Layout, Names, create_missing_one
from memgpt_proxy.stores.elasticsearch.lookups import Wanted
from memgpt_proxy.stores.elasticsearch.names import document_id
from memgpt_proxy.stores.records import Hit, Namespace, Owner
from memgpt_proxy.stores.storable import clean, owner_of
from memgpt_proxy.stores.vectors import (
    Embedded,
    Kind,
    Lacking,
    Name,
    Near,
    Place,
    Space,
    Text,
    Vector,
)

Json = dict[str, Any]

CANDIDATES = (4, 32)
"""Neighbours that are looked up for each that is wanted: some may be hidden or abandoned. More
only where the first are not enough."""

LOOKED_THROUGH = 200
"""Texts that are looked through for one without a vector at once."""

LOOKED_AGAIN_NS = 300 * 10**9
"""How far before its end a search for texts without vectors goes on the next time: what other
processes store has the time of their clocks."""

UNUSED_NS = 24 * 3600 * 10**9
"""How long nothing may have been written to another space's index before it is removed."""

_HIT = ("id", "name", "text", "created", "abandoned", "shown", "node.role")


@dataclass(frozen=True, slots=True)
class Table:
    """Where texts of one kind are, and what the records are called."""

    kind: Kind
    document: str
    stored: str
    """The field that is greater in what was stored later."""
    is_text: Json

    def alias(self, names: Names) -> str:
        """Return the alias of their index."""
        return names.transcript if self.kind is Kind.MESSAGE else names.passages


TABLES = (
    Table(Kind.MESSAGE, NODE, "stored", {"exists": {"field": "said"}}),
    Table(Kind.PASSAGE, PASSAGE, "written", {"term": {"kind": PASSAGE}}),
)
TABLE_OF = {table.kind: table for table in TABLES}


def layout_of(space: Space) -> Layout:
    """Return the index of a space, named by a hash: a model's name may be any text."""
    told = f"{space.dimensions}\0{clean(space.model)}".encode()
    digest = blake2b(told, digest_size=8).hexdigest()
    vector = {
        "type": "dense_vector",
        "dims": space.dimensions,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": "int8_hnsw"},
    }
    fields: Json = {
        "owner": {"type": "keyword"},
        "kind": {"type": "keyword"},
        "id": {"type": "keyword"},
        "name": {"type": "object", "enabled": False},
        "written": {"type": "long"},
        "vector": vector,
    }
    return Layout(f"vectors-{digest}", 1, fields, not_returned=["vector"])


class ElasticsearchVectors:
    """The vectors beside an Elasticsearch store, over connections of their own.

    Args:
        connection: Where Elasticsearch is.
        prefix: What the indices' names begin with; the store's own.
        shards: Of an index that has to be created.
    """

    def __init__(self, connection: Connection, *, prefix: str = "memgpt", shards: int = 1) -> None:
        self._client = connect(connection)
        self._names = Names(prefix)
        self._access = Access(self._client, self._names)
        self._clock = Clock()
        self._shards = shards
        self._made: set[Space] = set()
        self._making = asyncio.Lock()

    async def open(self) -> None:
        """Ask for nothing yet: the index of a space is made when the space is first used."""

    async def close(self) -> None:
        """Break off what is under way, then close the connections."""
        await self._access.close()
        await self._client.close()

    async def put_vectors(self, space: Space, vectors: Sequence[Embedded]) -> None:
        """Store vectors, in place of those that these texts have in this space.

        Those of texts that are not there any more go again: to erase a memory removes its texts
        before their vectors, so that one of the two sees the other.
        """
        alias = await self._alias(space)
        ordered = sorted(vectors, key=_owner)
        try:
            for owner, embedded in groupby(ordered, key=_owner):
                named = list(embedded)
                actions = [self._action(alias, each) for each in named]
                for outcome in await self._access.write(owner, actions):
                    outcome.raise_failure()
                await self._remove_orphans(alias, owner, [each.name for each in named])
        except Refused:
            self._made.discard(space)  # it may have been removed
            raise

    async def _remove_orphans(self, alias: str, owner: Owner, names: Sequence[Name]) -> None:
        """Remove the vectors of these texts that are not there."""
        tables = [TABLE_OF[name.kind] for name in names]
        wanted = [
            Wanted(table.alias(self._names), table.document, name.id)
            for table, name in zip(tables, names, strict=True)
        ]
        there = await self._access.get(owner, wanted, whole=False)
        gone = [name for name, text in zip(names, there, strict=True) if text is None]
        deletions = [Deletion(alias, document_id(owner, name.kind, name.id)) for name in gone]
        if deletions:
            for outcome in await self._access.write(owner, deletions):
                if not outcome.missing:
                    outcome.raise_failure()

    async def nearest(
        self, namespace: Namespace, kind: Kind, space: Space, vector: Vector, *, limit: int
    ) -> tuple[Near, ...]:
        """Return what is most similar, best first; abandoned messages after all others."""
        alias, owner = await self._alias(space), owner_of(namespace)
        near: list[Near] = []
        for each in CANDIDATES:
            count = limit * each
            near, found = await self._near(owner, kind, alias, vector, count)
            if found < count or sum(not one.hit.abandoned for one in near) >= limit:
                break
        return tuple(sorted(near, key=lambda one: one.hit.abandoned)[:limit])

    async def _near(
        self, owner: Owner, kind: Kind, alias: str, vector: Vector, count: int
    ) -> tuple[list[Near], int]:
        """Return those of the ``count`` nearest that may be found, and how many there are."""
        answer = await self._access.search(owner, alias, _neighbours(owner, kind, vector, count))
        found = answer["hits"]["hits"]
        names = [documents.name_of(each["_source"]) for each in found]
        hits = await self._hits(owner, kind, names)
        near = [
            Near(hit, 2 * each["_score"] - 1)
            for hit, each in zip(hits, found, strict=True)
            if hit is not None
        ]
        return near, len(found)

    async def lacking(self, space: Space, after: Place, *, limit: int) -> Lacking:
        """Look through the texts behind ``after``, messages first.

        A place is, for each kind, what its last text before it is sorted by.
        """
        alias = await self._alias(space)
        places = orjson.loads(after) if after else [[], []]
        texts: list[Text] = []
        more = False
        for position, table in enumerate(TABLES):
            if len(texts) >= limit:
                return Lacking(texts, _place(places), more=True)
            found = await self._lacking_of(table, alias, places[position])
            texts += found.texts[: limit - len(texts)]
            places[position] = found.place
            more = more or found.more
        return Lacking(texts, _place(places), more)

    async def remove_others(self, space: Space) -> None:
        """Remove the indices of other spaces to which nobody has written for a day."""
        own = self._names.index(layout_of(space))
        every = f"{self._names.prefix}-vectors-*"
        for index in await send(self._client, "GET", f"/{every}/_alias"):
            if index != own and await self._is_unused(index):
                await self._remove(index)

    async def _remove(self, index: str) -> None:
        try:
            await send(self._client, "DELETE", f"/{index}")
        except Refused as error:
            if error.status != 404:  # another process was faster
                raise

    async def _is_unused(self, index: str) -> bool:
        body = {"size": 0, "aggs": {"written": {"max": {"field": "written"}}}}
        answer = await send(self._client, "POST", f"/{index}/_search", body)
        newest = answer["aggregations"]["written"]["value"] or 0
        return bool(newest < self._clock.now() - UNUSED_NS)

    async def _alias(self, space: Space) -> str:
        """Return the alias of a space's index, which is there by then."""
        layout = layout_of(space)
        if space not in self._made:
            async with self._making:
                await create_missing_one(self._client, self._names, layout, self._shards)
                self._made.add(space)
        return self._names.alias(layout)

    def _action(self, alias: str, embedded: Embedded) -> Action:
        owner, kind, name = embedded.name.owner, embedded.name.kind.value, embedded.name.id
        vector = None if embedded.vector is None else embedded.vector.tolist()
        source = documents.of_vector(owner, kind, name, vector, self._clock.now())
        return Action("index", alias, document_id(owner, kind, name), source)

    async def _hits(self, owner: Owner, kind: Kind, names: Sequence[str]) -> list[Hit | None]:
        """Return the texts of these names; None for one that is hidden or not there."""
        table = TABLE_OF[kind]
        wanted = [Wanted(table.alias(self._names), table.document, name) for name in names]
        found = await self._access.get(owner, wanted, whole=_HIT)
        return [
            documents.hit(each.source) if each and _is_shown(table, each.source) else None
            for each in found
        ]

    async def _lacking_of(self, table: Table, alias: str, behind: list[Any]) -> _Page:
        page = await self._page(table, behind)
        if len(page) < LOOKED_THROUGH:  # the newest may not be searchable yet
            await send(self._client, "POST", f"/{table.alias(self._names)}/_refresh")
            page = await self._page(table, behind)
        there = await self._have_vectors(alias, [_name(table, hit) for hit in page])
        missing = [at for at, has in enumerate(there) if not has]
        texts = [Text(_name(table, page[at]), page[at]["_source"]["text"]) for at in missing]
        if missing:
            first = missing[0]
            return _Page(texts, page[first - 1]["sort"] if first else behind, more=True)
        if len(page) == LOOKED_THROUGH:
            return _Page([], page[-1]["sort"], more=True)
        return _Page([], _again(page[-1]["sort"]) if page else behind, more=False)

    async def _page(self, table: Table, behind: list[Any]) -> list[Json]:
        """Return texts of all owners in the order in which they were stored."""
        body: Json = {
            "query": {"bool": {"filter": [table.is_text]}},
            "sort": [{table.stored: "asc"}, {"id": "asc"}, {"owner": "asc"}],
            "size": LOOKED_THROUGH,
            "track_total_hits": False,
            "_source": ["owner", "id", "name", "text"],
        }
        if behind:
            body["search_after"] = behind
        params = {"allow_partial_search_results": "false"}
        path = f"/{table.alias(self._names)}/_search"
        answer = await send(self._client, "POST", path, body, params=params)
        hits: list[Json] = answer["hits"]["hits"]
        return hits

    async def _have_vectors(self, alias: str, names: Sequence[Name]) -> list[bool]:
        asked = [
            {
                "_index": alias,
                "_id": document_id(name.owner, name.kind, name.id),
                "routing": name.owner,
                "_source": False,
            }
            for name in names
        ]
        if not asked:
            return []
        answer = await send(self._client, "POST", "/_mget", {"docs": asked})
        for document in answer["docs"]:
            if error := document.get("error"):
                raise answered(503, error.get("type", ""), "")
        return [document["found"] for document in answer["docs"]]


@dataclass(frozen=True, slots=True)
class _Page:
    texts: Sequence[Text]
    place: list[Any]
    more: bool


def _neighbours(owner: Owner, kind: Kind, vector: Vector, count: int) -> Search:
    """Return the search for the nearest vectors of one owner's texts."""
    belongs = [{"term": {"owner": owner}}, {"term": {"kind": kind.value}}]
    knn = {
        "field": "vector",
        "query_vector": vector.tolist(),
        "num_candidates": count,
        "filter": belongs,
    }
    rest = {
        "size": count,
        "sort": [{"_score": "desc"}, {"written": "desc"}, {"id": "asc"}],
        "track_total_hits": False,
        "_source": ["id", "name"],
    }
    return Search(query={"knn": knn}, rest=rest)


def _is_shown(table: Table, document: Json) -> bool:
    return table.kind is Kind.MESSAGE or document["shown"] is not None


def _name(table: Table, hit: Json) -> Name:
    source = hit["_source"]
    return Name(Owner(source["owner"]), table.kind, documents.name_of(source))


def _again(end: list[Any]) -> list[Any]:
    """Return where to go on from behind the last text that there is."""
    stored, *_ = end
    return [max(stored - LOOKED_AGAIN_NS, 0), "", ""]


def _place(places: list[list[Any]]) -> Place:
    return Place(orjson.dumps(places).decode())


def _owner(embedded: Embedded) -> Owner:
    return embedded.name.owner
