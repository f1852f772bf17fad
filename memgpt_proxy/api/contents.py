"""What a memory holds, for the owner of its key to see, to search and to edit.

The same API key as for the conversation, in the same header, and ``user`` in the query where
requests name one. Each request counts against the key's limits but the one for the working
context as it is: it is work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import MAXYEAR, UTC, datetime, timedelta, tzinfo
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from memgpt_proxy.api.checks import typed
from memgpt_proxy.api.owned import PREFIX, Owners, fields_of, json_response, limit_of, page_of
from memgpt_proxy.errors import (
    InvalidRequest,
    MemoryNotWritten,
    MemoryUnreadable,
    WorkingContextChanged,
)
from memgpt_proxy.memory.archival import cut
from memgpt_proxy.memory.results import PAGE_SIZE
from memgpt_proxy.memory.working_context import grouped
from memgpt_proxy.stores.protocols import StaleVersion, Store, StoreError
from memgpt_proxy.stores.records import NO_TURN, ROOT, Hit, Namespace, Page, WorkingContext
from memgpt_proxy.values import dataclass

Serve = Callable[[Request], Awaitable[Response]]

_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(MAXYEAR, 12, 31, tzinfo=UTC)
"""Between them is all that there is."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """A part of what a storage has: a page of it, of what was searched for or of some days."""

    page: int
    limit: int
    query: str | None
    start: datetime = _EARLIEST
    end: datetime = _LATEST

    @property
    def offset(self) -> int:
        """How many entries come before the page."""
        return (self.page - 1) * self.limit

    def shown(self, found: Page, entries: Sequence[dict[str, Any]]) -> Response:
        """Return the page as an answer."""
        pages = max(1, -(-found.total // self.limit))
        return json_response(
            {"data": entries, "total": found.total, "page": self.page, "pages": pages}
        )


class ContentsRoutes:
    """Serves the working context, recall storage and archival storage.

    Args:
        owners: Knows whose memory is asked for.
        store: As turns use it.
        limit: Size of the working context, in characters.
        zone: Time zone of the days that are asked for.
        max_body: Bytes of a request's body at the most.
    """

    def __init__(
        self,
        owners: Owners,
        store: Store,
        *,
        limit: int,
        zone: tzinfo,
        max_body: int,
    ) -> None:
        self._owners = owners
        self._store = store
        self._limit = limit
        self._zone = zone
        self._max_body = max_body

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [
            _route("working-context", GET=self.working_context, PUT=self.edit),
            _route("recall-storage", GET=self.recall),
            _route("archival-storage", GET=self.archival, POST=self.insert),
        ]

    async def working_context(self, request: Request) -> Response:
        """Answer with the working context as it is now."""
        asked = self._owners.known(request)
        try:
            return self._shown(await self._now(asked.namespace))
        except StoreError as error:
            raise MemoryUnreadable("The working context cannot be read now.") from error

    async def edit(self, request: Request) -> Response:
        """Replace the version of the working context that the caller has seen."""
        asked = await self._owners.admitted(request)
        fields = await fields_of(request, "version", "content", most=self._max_body)
        version, content = _given(fields, "version", int), _given(fields, "content", str)
        await self._owners.note(asked)
        try:
            return self._shown(await self._written(asked.namespace, version, content))
        except StaleVersion as error:
            raise WorkingContextChanged from error
        except StoreError as error:
            raise MemoryNotWritten("The working context cannot be written now.") from error

    async def recall(self, request: Request) -> Response:
        """Answer with messages: what was searched for, or was said on some days, or all."""
        asked = await self._owners.admitted(
            request, "query", "start_date", "end_date", "page", "limit"
        )
        listing = self._listing(request)
        try:
            found = await self._messages(asked.namespace, listing)
        except StoreError as error:
            raise MemoryUnreadable("Recall storage cannot be read now.") from error
        return listing.shown(found, [_message(hit) for hit in found.hits])

    async def archival(self, request: Request) -> Response:
        """Answer with passages: what was searched for, or all."""
        asked = await self._owners.admitted(request, "query", "page", "limit")
        listing = self._listing(request)
        try:
            found = await self._passages(asked.namespace, listing)
        except StoreError as error:
            raise MemoryUnreadable("Archival storage cannot be read now.") from error
        return listing.shown(found, [_passage(hit) for hit in found.hits])

    async def insert(self, request: Request) -> Response:
        """Store a text of the caller's as passages; the same once more stores nothing."""
        asked = await self._owners.admitted(request)
        fields = await fields_of(request, "content", most=self._max_body)
        text = _given(fields, "content", str)
        now = datetime.now(UTC).timestamp()
        passages = await asyncio.to_thread(cut, text, ROOT, now, NO_TURN)
        if not passages:
            raise InvalidRequest("content is empty.", param="content")
        await self._owners.note(asked)
        try:
            await self._store.insert_passages(asked.namespace, passages)
        except StoreError as error:
            message = "Not all of it may be stored. Send the request again."
            raise MemoryNotWritten(message) from error
        return json_response({"inserted": len(passages)})

    async def _now(self, namespace: Namespace) -> WorkingContext:
        # As a turn begins: what other replicas have written, or erased, is known by then.
        return (await self._store.read_turn(namespace, (), enough=0)).context

    async def _written(self, namespace: Namespace, version: int, content: str) -> WorkingContext:
        """Write the working context, which may be no longer than its limit, or than it was."""
        now = await self._now(namespace)
        if now.version != version:
            raise StaleVersion(f"it is {now.version} by now")
        if now.content == content:
            return now
        if len(content) > max(self._limit, len(now.content)):
            raise InvalidRequest(
                f"The working context holds {grouped(self._limit)} characters; this has "
                f"{grouped(len(content))}.",
                param="content",
            )
        return await self._store.write_context(namespace, version, content, ROOT, NO_TURN)

    async def _messages(self, namespace: Namespace, listing: _Listing) -> Page:
        limit, offset = listing.limit, listing.offset
        if listing.query is not None:
            return await self._store.search_messages(
                namespace, listing.query, limit=limit, offset=offset
            )
        return await self._store.messages_between(
            namespace, listing.start, listing.end, limit=limit, offset=offset
        )

    async def _passages(self, namespace: Namespace, listing: _Listing) -> Page:
        limit, offset = listing.limit, listing.offset
        if listing.query is not None:
            return await self._store.search_passages(
                namespace, listing.query, limit=limit, offset=offset
            )
        return await self._store.passages_between(
            namespace, listing.start, listing.end, limit=limit, offset=offset
        )

    def _listing(self, request: Request) -> _Listing:
        page, limit = page_of(request), limit_of(request, PAGE_SIZE)
        query = request.query_params.get("query") or None
        start, end = self._day(request, "start_date"), self._day(request, "end_date")
        if query is not None and (start or end):
            message = "Give a query or days, not both."
            raise InvalidRequest(message, param="query", code="invalid_value")
        return _Listing(page, limit, query, start or _EARLIEST, _end_of(end))

    def _day(self, request: Request, name: str) -> datetime | None:
        """Return when a day begins that the query may name."""
        if (given := request.query_params.get(name)) is None:
            return None
        try:
            return datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=self._zone)
        except ValueError as error:
            message = f"{name} is not a day; write it as YYYY-MM-DD."
            raise InvalidRequest(message, param=name, code="invalid_value") from error

    def _shown(self, context: WorkingContext) -> Response:
        return json_response(
            {"version": context.version, "content": context.content, "limit": self._limit}
        )


def _route(path: str, **served: Serve) -> Route:
    """Return a route that hands each method to what serves it; HEAD is served as GET."""

    async def serve(request: Request) -> Response:
        return await served.get(request.method, served["GET"])(request)

    return Route(f"{PREFIX}/{path}", serve, methods=list(served))


def _given(fields: Any, name: str, kind: type) -> Any:
    """Return a field that has to be there. Raises InvalidRequest."""
    value = typed(fields, name, kind, "an integer" if kind is int else "a string")
    if value is None:
        message = f"Missing required parameter: '{name}'."
        raise InvalidRequest(message, param=name, code="missing_required_parameter")
    return value


def _end_of(day: datetime | None) -> datetime:
    """Return when a day ends; the calendar's last year has days that none follows."""
    return _LATEST if day is None or day.year == MAXYEAR else day + timedelta(days=1)


def _message(hit: Hit) -> dict[str, Any]:
    return {"id": hit.id, "role": hit.role, **_said(hit), "abandoned": hit.abandoned}


def _passage(hit: Hit) -> dict[str, Any]:
    return {"id": hit.id, **_said(hit)}


def _said(hit: Hit) -> dict[str, Any]:
    return {"content": hit.text, "created": hit.created}
