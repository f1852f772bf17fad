"""Writes of all callers that wait, as one request.

An idle writer begins at once; while as many requests are under way as may be, those who come wait
together and share the next. Requests of one owner's writes follow one another, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.client import Refused, answered, send
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable
from memgpt_proxy.stores.records import Owner

MOST_BYTES = 4 << 20
"""Of one request, if no single document is larger."""

MOST_DOCUMENT_BYTES = 64 << 20
"""Of a document; Elasticsearch takes requests of 100 MB."""

MOST_IN_FLIGHT = 2
"""Requests at once: while one is stored, the next is on its way."""

SHARD_SECONDS = "3s"
"""How long the server waits for a shard that is away: less than a request may take."""

_PARAMETERS = {
    "require_alias": "true",  # what is missing shall not be made without its mapping
    "timeout": SHARD_SECONDS,
    "filter_path": "errors,items.*.status,items.*.error.type,items.*.error.reason",
}
_TARGET = f"/_bulk?{urlencode(_PARAMETERS)}"


@dataclass(frozen=True, slots=True)
class Action:
    """One document's write.

    Attributes:
        how: ``create`` where there is none yet, ``index`` in its place, ``update`` of some fields.
        index: The alias.
        id: Its ``_id``.
        source: The document, or the fields to update.
        seen: Sequence number and primary term that it has to have still.
    """

    how: str
    index: str
    id: str
    source: dict[str, Any]
    seen: tuple[int, int] | None = None

    def lines(self, owner: Owner) -> bytes:
        """Return the lines of a bulk request."""
        target: dict[str, Any] = {"_index": self.index, "_id": self.id, "routing": owner}
        if self.seen is not None:
            target["if_seq_no"], target["if_primary_term"] = self.seen
        source = self.source
        if self.how == "update":
            target["retry_on_conflict"] = 5
            source = {"doc": source}
        return b"%b\n%b\n" % (orjson.dumps({self.how: target}), orjson.dumps(source))


@dataclass(frozen=True, slots=True)
class Deletion:
    """The removal of one document, if it is there.

    Attributes:
        index: The alias.
        id: Its ``_id``.
    """

    index: str
    id: str

    def lines(self, owner: Owner) -> bytes:
        """Return the line of a bulk request."""
        target = {"_index": self.index, "_id": self.id, "routing": owner}
        return b"%b\n" % orjson.dumps({"delete": target})


class Outcome(NamedTuple):
    """What became of one action."""

    status: int
    kind: str = ""
    reason: str = ""

    @property
    def conflicts(self) -> bool:
        """Whether the document is there already, or has changed."""
        return self.status == 409

    @property
    def missing(self) -> bool:
        """Whether there is no document to update, or to delete."""
        return self.status == 404 and self.kind in ("", "document_missing_exception")

    def raise_failure(self) -> None:
        """Raise StoreError or StoreUnavailable where it was not carried out."""
        if self.status >= 300:
            raise answered(self.status, self.kind, self.reason)


class _Asked(NamedTuple):
    owner: Owner
    lines: bytes
    size: int
    future: asyncio.Future[list[Outcome]]


class Bulk:
    """The writer of a store.

    Args:
        client: From ``client.connect``.
        most_bytes: Of one request, if no single document is larger.
        most_in_flight: Requests at once.
    """

    def __init__(
        self,
        client: AsyncElasticsearch,
        *,
        most_bytes: int = MOST_BYTES,
        most_in_flight: int = MOST_IN_FLIGHT,
    ) -> None:
        self._client = client
        self._most_bytes = most_bytes
        self._most_in_flight = most_in_flight
        self._waiting: deque[_Asked] = deque()
        self._busy: set[Owner] = set()
        self._flights: set[asyncio.Task[None]] = set()

    async def carry_out(self, owner: Owner, actions: Sequence[Action | Deletion]) -> list[Outcome]:
        """Write, in order, and return what became of each.

        Raises StoreError, and writes nothing, where one is too large.
        Raises StoreUnavailable where the server is away, or was for a request that this one waited
        behind: then none may be written, all, or the first ones of many.
        """
        outcomes: list[Outcome] = []
        lines = [action.lines(owner) for action in actions]
        if any(len(each) > MOST_DOCUMENT_BYTES for each in lines):
            raise StoreError("a record cannot be stored: it is too large")
        for part in self._parts(lines):
            outcomes += await self._ask(owner, part)
        return outcomes

    async def close(self) -> None:
        """Break off what waits and what is under way."""
        while self._waiting:
            self._waiting.popleft().future.cancel()
        await ended(self._flights)

    def _parts(self, actions: Iterable[bytes]) -> Iterator[list[bytes]]:
        part: list[bytes] = []
        size = 0
        for lines in actions:
            if part and size + len(lines) > self._most_bytes:
                yield part
                part, size = [], 0
            part.append(lines)
            size += len(lines)
        if part:
            yield part

    def _ask(self, owner: Owner, part: Sequence[bytes]) -> asyncio.Future[list[Outcome]]:
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(owner, b"".join(part), len(part), future))
        self._begin()
        return future

    def _begin(self) -> None:
        """Send as many requests as may be under way."""
        while len(self._flights) < self._most_in_flight and (batch := self._take()):
            owners = {asked.owner for asked in batch}
            self._busy |= owners
            flight = asyncio.get_running_loop().create_task(self._send(batch, owners))
            self._flights.add(flight)
            flight.add_done_callback(self._land)

    def _land(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._begin()

    def _take(self) -> list[_Asked]:
        """Take what may go in one request: of each owner in order, and none whose is under way."""
        batch: list[_Asked] = []
        left: deque[_Asked] = deque()
        passed = set(self._busy)
        size = 0
        for asked in self._waiting:
            full = batch and size + len(asked.lines) > self._most_bytes
            if full or asked.owner in passed:
                passed.add(asked.owner)
                left.append(asked)
            else:
                batch.append(asked)
                size += len(asked.lines)
        self._waiting = left
        return batch

    async def _send(self, batch: Sequence[_Asked], owners: set[Owner]) -> None:
        settled: Sequence[list[Outcome] | Exception]
        try:
            settled = await self._outcomes(batch)
        except asyncio.CancelledError:  # by ``close``
            for asked in batch:
                asked.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - its callers shall see it
            settled = [error for _ in batch]
        self._busy -= owners
        for asked, outcome in zip(batch, settled, strict=True):
            if asked.future.done():
                continue
            if isinstance(outcome, Exception):
                asked.future.set_exception(outcome)
            else:
                asked.future.set_result(outcome)

    async def _outcomes(self, batch: Sequence[_Asked]) -> list[list[Outcome] | StoreError]:
        """Return for each what became of its actions; one that is refused fails no other."""
        try:
            outcomes = await self._request(b"".join(asked.lines for asked in batch))
        except Refused as error:
            if len(batch) == 1:
                return [error]
            return [each for asked in batch for each in await self._outcomes([asked])]
        except StoreError as error:
            if isinstance(error, StoreUnavailable):
                self._fail_waiting(error)
            return [error for _ in batch]
        shares = iter(outcomes)
        return [[next(shares) for _ in range(asked.size)] for asked in batch]

    def _fail_waiting(self, error: StoreUnavailable) -> None:
        """Let nobody else find out by himself, one after the other, that the server is away."""
        while self._waiting:
            if not (future := self._waiting.popleft().future).done():
                future.set_exception(error)

    async def _request(self, lines: bytes) -> list[Outcome]:
        answer = await send(self._client, "POST", _TARGET, lines)
        return [_outcome(item) for item in answer["items"]]


def _outcome(item: dict[str, Any]) -> Outcome:
    (told,) = item.values()
    error = told.get("error")
    if error is None:
        return Outcome(told["status"])
    return Outcome(told["status"], error.get("type", ""), error.get("reason", "")[:200])
