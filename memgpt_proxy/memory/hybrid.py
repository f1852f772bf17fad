"""Search by words and by meaning at once, around any store.

The order of a result: first a *head*, the best hits by words and the nearest by meaning, fused;
then the *tail*, all other hits by words in their own order; at last abandoned messages
that were found by meaning. Each hit comes once, so pages and totals are true.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from memgpt_proxy.memory.embedding import Embedder
from memgpt_proxy.memory.fusion import fuse
from memgpt_proxy.memory.queries import Queries
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.layer import Layer
from memgpt_proxy.stores.portable import Portable, StoredPassage
from memgpt_proxy.stores.protocols import Store, StoreError
from memgpt_proxy.stores.query import parse
from memgpt_proxy.stores.records import (
    Hit,
    Holdings,
    Known,
    Namespace,
    Node,
    Page,
    Passage,
    TurnRecord,
)
from memgpt_proxy.stores.storable import clean, owner_of
from memgpt_proxy.stores.vectors import Kind, Name, Text, VectorStore

log = logging.getLogger(__name__)

BY_WORDS = 100
"""Hits by words that are fused with those by meaning: ten pages."""

BY_MEANING = 50
"""Hits by meaning at the most."""


class Search(Protocol):
    """``search_messages`` or ``search_passages`` of a store."""

    async def __call__(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Return a page of the hits by words."""
        ...


class HybridStore(Layer):
    """A store that is searched by meaning too; it embeds what it stores in the background.

    Args:
        inner: The store that keeps the texts.
        vectors: Keeps their vectors; opened after ``inner``, closed before it.
    """

    def __init__(
        self, inner: Store, vectors: VectorStore, embedder: Embedder, queries: Queries
    ) -> None:
        super().__init__(inner)
        self._vectors = vectors
        self._embedder = embedder
        self._queries = queries
        self._embedding: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open both stores and begin to embed."""
        await super().open()
        try:
            await self._vectors.open()
        except StoreError:
            await super().close()
            raise
        self._embedding = asyncio.get_running_loop().create_task(self._embedder.run())
        self._embedding.add_done_callback(_tell_of_its_end)

    async def close(self) -> None:
        """Stop embedding, and close both stores."""
        if self._embedding is not None:
            await ended([self._embedding])
        await self._vectors.close()
        await super().close()

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        """Store, then have the messages embedded."""
        known = await super().commit(namespace, record)
        said = [(node.id, node.text) for node in record.nodes]
        self._embedder.wrote(_texts(namespace, Kind.MESSAGE, said))
        return known

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store, then have them embedded."""
        await super().insert_passages(namespace, passages)
        kept = [(passage.id, passage.text) for passage in passages]
        self._embedder.wrote(_texts(namespace, Kind.PASSAGE, kept))

    async def erase(self, namespace: Namespace) -> Holdings:
        """Erase, and embed nothing more of it."""
        erased = await super().erase(namespace)
        self._embedder.forget(owner_of(namespace))
        return erased

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        """Store, then have the texts embedded."""
        await super().restore(namespace, records)
        said = [(each.id, each.text) for each in records if isinstance(each, Node)]
        passages = [each.passage for each in records if isinstance(each, StoredPassage)]
        kept = [(passage.id, passage.text) for passage in passages]
        self._embedder.wrote(_texts(namespace, Kind.MESSAGE, said))
        self._embedder.wrote(_texts(namespace, Kind.PASSAGE, kept))

    async def search_messages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Search messages by words and meaning, best first."""
        near = await self._near(namespace, Kind.MESSAGE, query)
        search = _Fused(super().search_messages, namespace, query, without)
        return await search.page(near, limit, offset)

    async def search_passages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Search passages by words and meaning, best first."""
        near = await self._near(namespace, Kind.PASSAGE, query)
        search = _Fused(super().search_passages, namespace, query, without)
        return await search.page(near, limit, offset)

    async def _near(self, namespace: Namespace, kind: Kind, query: str) -> list[Hit]:
        """Return what is near to a query in meaning; nothing where that cannot be told now."""
        if not parse(query).terms:
            return []
        measure = self._embedder.measure
        if measure is None:  # the server was not there yet
            self._queries.go_without()
            return []
        vector = await self._queries.vector(clean(query))
        if vector is None or len(vector) != measure.space.dimensions:
            return []
        try:
            near = await self._vectors.nearest(
                namespace, kind, measure.space, vector, limit=BY_MEANING
            )
        except StoreError as error:
            log.warning("searching by words alone: %s", error)
            return []
        return [each.hit for each in near if each.similarity > measure.floor]


class _Fused:
    """One query's hits by words, to be fused with those by meaning."""

    def __init__(
        self, search: Search, namespace: Namespace, query: str, without: Sequence[str]
    ) -> None:
        self._search = search
        self._namespace = namespace
        self._query = query
        self._without = tuple(without)

    async def page(self, near: Sequence[Hit], limit: int, offset: int) -> Page:
        """Return a page of the fused order.

        Where all of the query's terms are exact ones and some are found, these are all.
        """
        near = [hit for hit in near if hit.id not in self._without]
        first = await self._by_words(BY_WORDS, 0) if near else Page(0, ())
        if not near or (first.total and _is_exact(self._query)):
            return await self._by_words(limit, offset)
        head = fuse(_live(first.hits), _live(near))
        known = {hit.id for hit in head}
        last = [hit for hit in near if hit.id not in known]
        start = max(offset - len(head), 0)
        wanted = max(offset + limit - len(head) - start, 0)
        if first.total > len(_live(first.hits)):
            tail = await self._by_words(wanted, start, [hit.id for hit in (*head, *last)])
        else:
            tail = Page(0, ())
        return _put_together(head, tail, last, offset, offset + limit)

    async def _by_words(self, limit: int, offset: int, without: Collection[str] = ()) -> Page:
        out = (*self._without, *without)
        return await self._search(
            self._namespace, self._query, limit=limit, offset=offset, without=out
        )


def _put_together(
    head: Sequence[Hit], tail: Page, last: Sequence[Hit], start: int, end: int
) -> Page:
    """Return the hits from ``start`` to ``end`` of all three; ``tail`` has its own cut out."""
    before_last = len(head) + tail.total
    hits = (
        *head[start:end],
        *tail.hits,
        *last[max(start - before_last, 0) : max(end - before_last, 0)],
    )
    return Page(before_last + len(last), hits)


def _live(hits: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in hits if not hit.abandoned]


def _is_exact(query: str) -> bool:
    """Whether a query has identifiers and quoted phrases only."""
    parsed = parse(query)
    return bool(parsed.exact) and parsed.exact == parsed.terms


def _texts(namespace: Namespace, kind: Kind, texts: Sequence[tuple[str, str]]) -> list[Text]:
    owner = owner_of(namespace)
    return [Text(Name(owner, kind, clean(name)), clean(text)) for name, text in texts if text]


def _tell_of_its_end(embedding: asyncio.Task[None]) -> None:
    """Tell of an error in the program as soon as it ends embedding: nobody waits for that."""
    if not embedding.cancelled() and (error := embedding.exception()) is not None:
        log.critical("embedding has ended", exc_info=error)
