"""All that is asked of Elasticsearch for one owner: nothing else reaches its documents.

Every read, search and write takes the owner, and adds routing and, to a search, the condition
that a document is the owner's: one without them cannot be written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.bulk import Action, Bulk, Deletion, Outcome
from memgpt_proxy.stores.elasticsearch.client import send
from memgpt_proxy.stores.elasticsearch.freshness import Freshness
from memgpt_proxy.stores.elasticsearch.indices import MOST_AT_ONCE, Names
from memgpt_proxy.stores.elasticsearch.lookups import Found, LookUps, Wanted
from memgpt_proxy.stores.records import Owner

Json = dict[str, Any]

MOST_DELETED = 5_000
"""Documents that one request deletes."""

DELETE_SECONDS = 60.0
"""How long such a request may take."""

Belonging = Literal["owner", "said", "shown"]
"""The field that bears the owner: of all, of messages, of the passages that are not hidden."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for among an owner's documents.

    Attributes:
        belonging: Which of them.
        filters: Conditions that all hold.
        query: What they are ranked by, where they are.
        rest: Everything else of a search request's body: order, size and the like.
    """

    belonging: Belonging = "owner"
    filters: Sequence[Json] = ()
    query: Json | None = None
    rest: Json = field(default_factory=dict)

    def body(self, owner: Owner) -> Json:
        """Return the request's body."""
        conditions: Json = {"filter": [{"term": {self.belonging: owner}}, *self.filters]}
        if self.query is not None:
            conditions["must"] = [self.query]
        return {"query": {"bool": conditions}, **self.rest}


class Access:
    """Reads, searches and writes of one owner's documents.

    Args:
        client: From ``client.connect``.
        names: Of the indices.
    """

    def __init__(self, client: AsyncElasticsearch, names: Names) -> None:
        self.names = names
        self.freshness = Freshness(client)
        self._client = client
        self._bulk = Bulk(client)
        self._look_ups = LookUps(client)

    async def get(
        self, owner: Owner, wanted: Sequence[Wanted], *, whole: bool | Sequence[str] = True
    ) -> list[Found | None]:
        """Return documents by their names, as they are at this moment, in the order asked.

        ``whole=False`` leaves their content out; fields may be named in place of all of it.
        """
        if not wanted:
            return []
        return await self._look_ups.get(owner, wanted, whole=whole)

    async def search(self, owner: Owner, index: str, search: Search, *, fresh: bool = True) -> Json:
        """Search an index; what was written before is found, where it has to be ``fresh``."""
        if fresh:
            await self.freshness.ensure(index, owner)
        # One copy of a shard ranks all pages of an owner's searches the same.
        params = {"routing": owner, "preference": owner, "allow_partial_search_results": "false"}
        body = search.body(owner)
        answer: Json = await send(self._client, "POST", f"/{index}/_search", body, params=params)
        return answer

    async def walk(
        self,
        owner: Owner,
        index: str,
        search: Search,
        size: int = MOST_AT_ONCE,
        *,
        fresh: bool = True,
    ) -> AsyncIterator[list[Json]]:
        """Yield all hits of a search, ``size`` at a time; its order has to be one without ties."""
        rest = {**search.rest, "size": size, "track_total_hits": False}
        while True:
            asked = replace(search, rest=rest)
            answer = await self.search(owner, index, asked, fresh=fresh)
            if hits := answer["hits"]["hits"]:
                yield hits
            if len(hits) < size:
                return
            rest = {**rest, "search_after": hits[-1]["sort"]}

    async def write(self, owner: Owner, actions: Sequence[Action | Deletion]) -> list[Outcome]:
        """Write, in order; see ``Bulk.carry_out``."""
        try:
            return await self._bulk.carry_out(owner, actions)
        finally:
            for index in {action.index for action in actions}:
                self.freshness.wrote(index, owner)

    async def delete(self, owner: Owner, index: str, search: Search) -> int:
        """Delete what a search finds, ``MOST_DELETED`` at most; return how many there were.

        What changes meanwhile is left.
        """
        params = {"routing": owner, "conflicts": "proceed", "max_docs": str(MOST_DELETED)}
        path, body = f"/{index}/_delete_by_query", search.body(owner)
        try:
            answer = await send(
                self._client, "POST", path, body, params=params, seconds=DELETE_SECONDS
            )
            return int(answer["deleted"])
        finally:
            self.freshness.wrote(index, owner)

    async def close(self) -> None:
        """Break off what is under way."""
        await self._bulk.close()
        await self._look_ups.close()
        await self.freshness.close()
