"""Look-ups by id: all that are asked for at one moment go as one request, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.client import answered, reason_of, send
from memgpt_proxy.stores.elasticsearch.names import document_id
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Owner

Json = dict[str, Any]

MOST_GOT = 1_000
"""Documents of one request, if no caller asks for more at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document to look up: where, what it is and how it is called."""

    index: str
    kind: str
    name: str

    def asked(self, owner: Owner, *, whole: bool | Sequence[str]) -> Json:
        """Return the look-up; ``whole``: with its content, or the fields named."""
        return {
            "_index": self.index,
            "_id": document_id(owner, self.kind, self.name),
            "routing": owner,
            "_source": whole,
        }


class Found(NamedTuple):
    """A document, and the sequence number and primary term of its last write."""

    source: Json
    seen: tuple[int, int]


class _Asked(NamedTuple):
    documents: list[Json]
    future: asyncio.Future[list[Found | None]]


class LookUps:
    """Looks documents up, as they are at this moment."""

    def __init__(self, client: AsyncElasticsearch) -> None:
        self._client = client
        self._waiting: list[_Asked] = []
        self._under_way: set[asyncio.Task[None]] = set()

    def get(
        self, owner: Owner, wanted: Sequence[Wanted], *, whole: bool | Sequence[str] = True
    ) -> asyncio.Future[list[Found | None]]:
        """Return documents by their names, in the order asked."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._begin)
        documents = [each.asked(owner, whole=whole) for each in wanted]
        asked = _Asked(documents, loop.create_future())
        self._waiting.append(asked)
        return asked.future

    async def close(self) -> None:
        """Break off what waits and what is under way."""
        while self._waiting:
            self._waiting.pop().future.cancel()
        await ended(self._under_way)

    def _begin(self) -> None:
        """Send what has come together."""
        waiting, self._waiting = self._waiting, []
        for batch in _batches(waiting):
            task = asyncio.get_running_loop().create_task(self._send(batch))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _send(self, batch: Sequence[_Asked]) -> None:
        try:
            answer = await self._found([each for asked in batch for each in asked.documents])
        except asyncio.CancelledError:  # by ``close``
            for asked in batch:
                asked.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - its callers shall see it
            _fail(batch, error)
            return
        documents = iter(answer)
        for asked in batch:
            share = [next(documents) for _ in asked.documents]
            if asked.future.done():
                continue
            try:
                asked.future.set_result([_found(document) for document in share])
            except StoreError as error:
                asked.future.set_exception(error)

    async def _found(self, documents: Sequence[Json]) -> list[Json]:
        found: list[Json] = []
        for start in range(0, len(documents), MOST_GOT):
            body = {"docs": documents[start : start + MOST_GOT]}
            found += (await send(self._client, "POST", "/_mget", body))["docs"]
        return found


def _batches(waiting: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """Yield those that share a request."""
    batch: list[_Asked] = []
    size = 0
    for asked in waiting:
        if batch and size + len(asked.documents) > MOST_GOT:
            yield batch
            batch, size = [], 0
        batch.append(asked)
        size += len(asked.documents)
    yield batch


def _fail(batch: Sequence[_Asked], error: Exception) -> None:
    for asked in batch:
        if not asked.future.done():
            asked.future.set_exception(error)


def _found(document: Json) -> Found | None:
    if error := document.get("error"):  # its shard is away, or its index
        raise answered(503, error.get("type", ""), reason_of(error))
    if not document["found"]:
        return None
    return Found(document.get("_source", {}), (document["_seq_no"], document["_primary_term"]))
