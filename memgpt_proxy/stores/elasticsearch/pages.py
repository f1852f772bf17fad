"""Pages of hits: by time, and by a query's terms.

Orders end in a unique field, so that pages neither repeat nor skip a hit. Up to ``MOST_AT_ONCE``
the server skips what is before a page; further on the hits before it are walked by where the last
page ended, since a server that skips has to keep all of them in memory.
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import Access, Belonging, Search
from memgpt_proxy.stores.elasticsearch.analysis import LONGEST_WORD
from memgpt_proxy.stores.elasticsearch.indices import MOST_AT_ONCE
from memgpt_proxy.stores.elasticsearch.names import term
from memgpt_proxy.stores.query import UNSPACED, Query
from memgpt_proxy.stores.records import Hit, Owner, Page

Json = dict[str, Any]

MOST_TOKENS = 384
"""Words and signs of a query's exact and scanned terms in all: Elasticsearch takes some 1000."""

LEAST_TOKENS = 6
"""Of each of these terms, at least."""

_NEWEST: list[Json] = [{"created": "desc"}, {"depth": "desc"}, {"id": "asc"}]
_LIVE_FIRST: list[Json] = [{"abandoned": "asc"}]
_BEST: list[Json] = [{"_score": "desc"}]


@dataclass(frozen=True, slots=True)
class Searched:
    """What is searched, and which of its hits come first.

    Attributes:
        index: The alias.
        belonging: The field that tells whose a document is, if it may be found at all.
        newest: The order of hits by time alone.
        all_terms: The order of the hits that have every term.
        any_term: The order of those that have some.
    """

    index: str
    belonging: Belonging
    newest: Sequence[Json]
    all_terms: Sequence[Json]
    any_term: Sequence[Json]


@dataclass(frozen=True, slots=True)
class Window:
    """Which of all hits are on the page: those in ``without`` do not count."""

    limit: int
    offset: int
    without: Sequence[str] = ()


def messages(access: Access) -> Searched:
    """Return how messages are searched: newest first, or best first; abandoned ones last."""
    newest, best = [*_LIVE_FIRST, *_NEWEST], [*_LIVE_FIRST, *_BEST, *_NEWEST]
    return Searched(access.names.transcript, "said", newest, newest, best)


def passages(access: Access) -> Searched:
    """Return how passages are searched: best first."""
    newest: list[Json] = [{"created": "desc"}, {"id": "asc"}]
    best = [*_BEST, *newest]
    return Searched(access.names.passages, "shown", newest, best, best)


async def search(
    access: Access, owner: Owner, searched: Searched, query: Query, window: Window
) -> Page:
    """Return what has every term of a query; if nothing has, what has any."""
    if not query.terms:
        return Page(0, ())
    every = _every_term(query, ranked=searched.all_terms == searched.any_term)
    page = await _page(access, owner, searched, every, searched.all_terms, window)
    if page.total or len(query.terms) == 1:
        return page
    if window.without:
        all_of_them = replace(window, limit=0, without=())
        if (await _page(access, owner, searched, every, searched.all_terms, all_of_them)).total:
            return page
    some = _any_term(query)
    return await _page(access, owner, searched, some, searched.any_term, window)


async def between(
    access: Access, owner: Owner, searched: Searched, start: float, end: float, window: Window
) -> Page:
    """Return what was made at ``start <= created < end``, newest first, abandoned last."""
    found = Search(filters=[{"range": {"created": {"gte": start, "lt": end}}}])
    return await _page(access, owner, searched, found, searched.newest, window)


async def _page(
    access: Access,
    owner: Owner,
    searched: Searched,
    found: Search,
    order: Sequence[Json],
    window: Window,
) -> Page:
    filters = [*found.filters, *_but(window.without)]
    rest = {"sort": list(order)}
    asked = replace(found, belonging=searched.belonging, filters=filters, rest=rest)
    pages = _Pages(access, owner, searched.index, asked)
    if window.offset + window.limit <= MOST_AT_ONCE:
        return await pages.near(window)
    return await pages.far(window)


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of one search's hits."""

    access: Access
    owner: Owner
    index: str
    search: Search

    async def near(self, window: Window) -> Page:
        """Return a page by skipping what is before it."""
        answer = await self._asked({"from": window.offset, "size": window.limit}, total=True)
        return Page(answer["hits"]["total"]["value"], tuple(map(_hit, answer["hits"]["hits"])))

    async def far(self, window: Window) -> Page:
        """Return a page by walking from the first hit to it."""
        answer = await self._asked({"size": 0}, total=True)
        total = answer["hits"]["total"]["value"]
        if window.offset >= total or not window.limit:
            return Page(total, ())
        begin: Json = {}
        async for hits in self._walk(begin, window.offset, {"_source": False}):
            begin = {"search_after": hits[-1]["sort"]}
        pages = self._walk(begin, window.limit, {})
        return Page(total, tuple([_hit(hit) async for hits in pages for hit in hits]))

    async def _walk(self, begin: Json, count: int, rest: Json) -> AsyncIterator[list[Json]]:
        """Yield the next ``count`` hits, as many at a time as may be."""
        while count > 0:
            size = min(count, MOST_AT_ONCE)
            answer = await self._asked({**begin, **rest, "size": size}, total=False)
            if not (hits := answer["hits"]["hits"]):
                return
            yield hits
            begin = {"search_after": hits[-1]["sort"]}
            count -= size

    async def _asked(self, rest: Json, *, total: bool) -> Json:
        rest = {**self.search.rest, **rest, "track_total_hits": total}
        asked = replace(self.search, rest=rest)
        return await self.access.search(self.owner, self.index, asked)


def _but(without: Sequence[str]) -> list[Json]:
    """Return the condition that a hit is none of these."""
    if not without:
        return []
    return [{"bool": {"must_not": {"terms": {"id": [term(name) for name in without]}}}}]


def _hit(hit: Json) -> Hit:
    return documents.hit(hit["_source"])


def _every_term(query: Query, *, ranked: bool) -> Search:
    """Return the search for what has every term."""
    literal = [_written(term) for term in _shortened((*query.exact, *query.scanned))]
    words = [_by_stem(term) for term in query.words]
    if not ranked:
        return Search(filters=[*words, *literal])
    scored = words + [_by_stem(term) for term in _shortened(query.exact)]
    return Search(filters=literal, query={"bool": {"must": scored}} if scored else None)


def _any_term(query: Query) -> Search:
    """Return the search for what has some term."""
    short = _shortened((*query.exact, *query.scanned))
    exact, scanned = short[: len(query.exact)], short[len(query.exact) :]
    some: list[Json] = [_by_stem(term) for term in query.words]
    some += [{"bool": {"must": _by_stem(term), "filter": _written(term)}} for term in exact]
    some += [{"constant_score": {"filter": _written(term), "boost": 0.0}} for term in scanned]
    return Search(query={"bool": {"should": some, "minimum_should_match": 1}})


def _by_stem(term: str) -> Json:
    return {"match_phrase": {"text": term}}


def _written(term: str) -> Json:
    return {"match_phrase": {"text.written": term}}


def _shortened(terms: Sequence[str]) -> list[str]:
    """Return the beginnings of terms that are too long together."""
    tokens = [_tokens(term) for term in terms]
    if sum(map(len, tokens)) <= MOST_TOKENS:
        return list(terms)
    most = max(LEAST_TOKENS, MOST_TOKENS // len(terms))
    return ["".join(each[:most]) for each in tokens]


def _tokens(term: str) -> list[str]:
    """Return the words and signs of a term, as ``analysis`` takes it apart."""
    tokens: list[str] = []
    for character in term:
        if tokens and _goes_on(tokens[-1], character):
            tokens[-1] += character
        else:
            tokens.append(character)
    return tokens


def _goes_on(word: str, character: str) -> bool:
    """Whether a character belongs to the word before it."""
    if len(word) == LONGEST_WORD or not word[0].isalnum() or UNSPACED.match(word[0]):
        return False
    of_words = character.isalnum() or unicodedata.category(character).startswith("M")
    return of_words and not UNSPACED.match(character)
