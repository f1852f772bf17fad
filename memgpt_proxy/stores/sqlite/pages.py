"""Pages of hits: by time, and by a query's terms; one statement answers with one row."""

# ruff: noqa: S608 - statements are put together from names in the code, never from values

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from memgpt_proxy.stores.query import Query
from memgpt_proxy.stores.records import Page
from memgpt_proxy.stores.sqlite import rows, search

Parameters = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Searched:
    """A table with texts, its full-text index, and which of its rows come first.

    ``indexed`` is the condition of those that its index has, ``listed`` of those that are there to
    be found at all, ``hit`` the columns of a hit.
    """

    table: str
    index: str
    indexed: str
    listed: str
    newest: str
    best: str
    hit: str


MESSAGES = Searched(
    table="nodes",
    index="messages_index",
    indexed="text <> ''",
    listed="text <> ''",
    newest="abandoned, created DESC, depth DESC, id",
    best="abandoned, score, created DESC, depth DESC, id",
    hit=rows.MESSAGE_HIT_COLUMNS,
)
PASSAGES = Searched(
    table="passages",
    index="passages_index",
    indexed="text <> '' AND NOT hidden",
    listed="NOT hidden",
    newest="created DESC, id",
    best="score, created DESC, id",
    hit=rows.HIT_COLUMNS,
)


@dataclass(frozen=True, slots=True)
class Window:
    """Which of all hits are on the page: those in ``without`` do not count."""

    limit: int
    offset: int
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hits:
    """A statement that selects the ``number`` and ``score`` of every hit; low is good."""

    statement: str
    parameters: Parameters


def messages_between(
    connection: sqlite3.Connection, namespace: str, start: float, end: float, window: Window
) -> Page:
    """Return messages with ``start <= created < end``, newest first, abandoned last."""
    return _between(connection, MESSAGES, namespace, start, end, window)


def passages_between(
    connection: sqlite3.Connection, namespace: str, start: float, end: float, window: Window
) -> Page:
    """Return passages with ``start <= created < end``, newest first."""
    return _between(connection, PASSAGES, namespace, start, end, window)


def search_messages(
    connection: sqlite3.Connection, namespace: str, query: Query, window: Window
) -> Page:
    """Return messages with every term, newest first; if none has, the best of any term."""
    return _search(connection, MESSAGES, MESSAGES.newest, namespace, query, window)


def search_passages(
    connection: sqlite3.Connection, namespace: str, query: Query, window: Window
) -> Page:
    """Return passages with every term, best first; if none has, the best of any term."""
    return _search(connection, PASSAGES, PASSAGES.best, namespace, query, window)


def _between(
    connection: sqlite3.Connection,
    searched: Searched,
    namespace: str,
    start: float,
    end: float,
    window: Window,
) -> Page:
    hits = Hits(between(searched), {"namespace": namespace, "start": start, "end": end})
    return _page(connection, searched, hits, searched.newest, window)[1]


def between(searched: Searched) -> str:
    """Return the statement that selects what was made between ``:start`` and ``:end``."""
    return (
        f"SELECT number, 0.0 AS score FROM {searched.table}"
        f" WHERE namespace = :namespace AND {searched.listed}"
        " AND created >= :start AND created < :end"
    )


def _search(
    connection: sqlite3.Connection,
    searched: Searched,
    order: str,
    namespace: str,
    query: Query,
    window: Window,
) -> Page:
    if not query.terms:
        return Page(0, ())
    ranked = order == searched.best
    every = _with_every_term(searched, namespace, query, ranked=ranked)
    matched, page = _page(connection, searched, every, order, window)
    if matched or len(query.terms) == 1:
        return page
    some = _with_any_term(searched, namespace, query)
    return _page(connection, searched, some, searched.best, window)[1]


def _page(
    connection: sqlite3.Connection, searched: Searched, hits: Hits, order: str, window: Window
) -> tuple[int, Page]:
    """Return how many hits there are, and the page of those that are not left out."""
    statement = f"""
        WITH hits (number, score) AS MATERIALIZED ({hits.statement}),
        out (number) AS MATERIALIZED (
            SELECT number FROM json_each(:without) AS named CROSS JOIN {searched.table}
            ON {searched.table}.namespace = :namespace AND {searched.table}.id = named.value
        ),
        page AS MATERIALIZED (
            SELECT number FROM hits CROSS JOIN {searched.table} USING (number)
            WHERE number NOT IN (SELECT number FROM out)
            ORDER BY {order} LIMIT :limit OFFSET :offset
        )
        SELECT
            (SELECT count(*) FROM hits),
            (SELECT count(*) FROM hits WHERE number IN (SELECT number FROM out)),
            (
                SELECT json_group_array(json_array({searched.hit}))
                FROM page CROSS JOIN {searched.table} USING (number)
            )
    """
    bounds = {
        "limit": window.limit,
        "offset": window.offset,
        "without": rows.ids_to_json(window.without),
    }
    parameters = {**hits.parameters, **bounds}
    matched, left_out, found = connection.execute(statement, parameters).fetchone()
    return matched, Page(matched - left_out, tuple(map(rows.hit, rows.from_json(found))))


def _with_every_term(searched: Searched, namespace: str, query: Query, *, ranked: bool) -> Hits:
    literal, parameters = _literal(searched, (*query.exact, *query.scanned))
    conditions = "".join(f" AND {condition}" for condition in literal)
    parameters["namespace"] = namespace
    if not query.indexed:
        return Hits(_scan(searched) + conditions, parameters)
    parameters["match"] = search.match(query.indexed, namespace, every=True)
    return Hits(_look_up(searched, ranked=ranked) + conditions, parameters)


def _with_any_term(searched: Searched, namespace: str, query: Query) -> Hits:
    literal, parameters = _literal(searched, (*query.exact, *query.scanned))
    exact, scanned = literal[: len(query.exact)], literal[len(query.exact) :]
    parameters["namespace"] = namespace
    parts = []
    if query.indexed:
        parameters["match"] = search.match(query.indexed, namespace, every=False)
        parts.append(_look_up(searched, ranked=True))
    if exact:
        if query.words:
            parameters["words"] = search.match(query.words, namespace, every=False)
            exact.append(f"number IN (SELECT rowid FROM {searched.index}(:words))")
        parts[0] += f" AND ({' OR '.join(exact)})"
    if scanned:
        parts.append(f"{_scan(searched)} AND ({' OR '.join(scanned)})")
    # MATERIALIZED keeps bm25() where SQLite can compute it: beside its MATCH.
    union = f"WITH found (number, score) AS MATERIALIZED ({' UNION ALL '.join(parts)})"
    return Hits(f"{union} SELECT number, min(score) FROM found GROUP BY number", parameters)


def _look_up(searched: Searched, *, ranked: bool) -> str:
    score = f"bm25({searched.index}, 0.0, 1.0)" if ranked else "0.0"
    return (
        f"SELECT number, {score} AS score FROM {searched.index}(:match) AS found"
        f" CROSS JOIN {searched.table} ON number = found.rowid"
        f" WHERE {searched.table}.namespace = :namespace"
    )


def _scan(searched: Searched) -> str:
    return (
        f"SELECT number, 0.0 AS score FROM {searched.table}"
        f" WHERE {searched.table}.namespace = :namespace AND {searched.indexed}"
    )


def _literal(searched: Searched, terms: tuple[str, ...]) -> tuple[list[str], Parameters]:
    """Return a condition for each term, that the text holds it as it is written."""
    text = f"{searched.table}.text"
    conditions = [
        f"{f'spaced({text})' if ' ' in term else text} LIKE :literal{position} ESCAPE '\\'"
        for position, term in enumerate(terms)
    ]
    patterns: Parameters = {
        f"literal{position}": search.like(term) for position, term in enumerate(terms)
    }
    return conditions, patterns
