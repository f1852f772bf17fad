"""A memory as a whole, for the owner of its key: to erase it, to export it, to import one.

The same API key as for the conversation, in the same header, and ``user`` in the query where
requests name one. Each request counts against the key's limits: it is work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from memgpt_proxy.api.owned import NOT_KEPT, PREFIX, Owners, json_response
from memgpt_proxy.errors import (
    InvalidRequest,
    MemoryNotEmpty,
    MemoryNotErased,
    MemoryNotImported,
    MemoryUnreadable,
    RequestTooLarge,
)
from memgpt_proxy.memory.carrying import (
    NotEmpty,
    OtherNames,
    Traces,
    exported,
    records_for,
    take_in,
)
from memgpt_proxy.memory.erasing import Eraser
from memgpt_proxy.stores.lines import Malformed
from memgpt_proxy.stores.portable import Portable, PortableStore
from memgpt_proxy.stores.protocols import Remains, Store, StoreAway, StoreError, StoreFull
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.storable import owner_of

log = logging.getLogger(__name__)


class Records(PortableStore, Protocol):
    """A store's records as they are, nothing around them."""

    def changed_elsewhere(self, namespace: Namespace) -> None:
        """Another process has just written to this namespace: the next searches are to find it."""
        ...


class MemoryRoutes:
    """Serves ``DELETE /memgpt/memory``, ``GET /memgpt/export`` and ``POST /memgpt/import``.

    Args:
        owners: Knows whose memory is asked for.
        store: As turns use it.
        records: What is in it.
        max_body: Bytes of an import at the most.
    """

    def __init__(
        self,
        owners: Owners,
        eraser: Eraser,
        store: Store,
        records: Records,
        traces: Traces,
        max_body: int,
    ) -> None:
        self._owners = owners
        self._eraser = eraser
        self._store = store
        self._records = records
        self._traces = traces
        self._max_body = max_body

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [
            Route(f"{PREFIX}/memory", self.erase, methods=["DELETE"]),
            Route(f"{PREFIX}/export", self.export, methods=["GET"]),
            Route(f"{PREFIX}/import", self.take_in, methods=["POST"]),
        ]

    async def erase(self, request: Request) -> Response:
        """Erase the caller's memory, and answer with what it held.

        With ``users=all`` that of the key and of all of its users. A body is refused: whoever is
        named there would not be the one who is erased.
        """
        asked = await self._owners.admitted(request, "users")
        with_users = _with_users(request)
        if await _has_body(request):
            raise InvalidRequest(
                "Nothing was erased: this takes no body. Name a user in the query, as in "
                "/memgpt/memory?user=…; without one it erases the memory of the key itself."
            )
        try:
            if not with_users:
                erased = await self._eraser.erase(asked.namespace)
                return json_response({"erased": asdict(erased)})
            register, users = self._owners.register(asked), self._owners.users
            erased, count = await self._eraser.erase_all(asked.namespace, register, users)
        except StoreError as error:
            raise MemoryNotErased(_why(error)) from error
        return json_response({"erased": asdict(erased), "users": count})

    async def export(self, request: Request) -> Response:
        """Answer with the caller's memory, as lines of JSON."""
        namespace = (await self._owners.admitted(request)).namespace
        if self._store.degraded:
            raise MemoryUnreadable("The store is away: not all of the memory can be read now.")
        self._records.changed_elsewhere(namespace)
        lines = exported(
            self._records,
            owner_of(namespace),
            time.time(),
            namespace=namespace,
            traces=self._traces,
        )
        try:
            first = [await anext(lines), await anext(lines)]
        except StoreError as error:
            raise MemoryUnreadable("The memory cannot be read now.") from error
        named = {"content-disposition": 'attachment; filename="memory.jsonl"'}
        kind = "application/jsonl"
        return StreamingResponse(_all(first, lines), media_type=kind, headers={**named, **NOT_KEPT})

    async def take_in(self, request: Request) -> Response:
        """Store an export in the caller's memory, which has to be empty."""
        asked = await self._owners.admitted(request)
        namespace = asked.namespace
        body = await self._body(request)
        owner = owner_of(namespace)
        try:
            lines = body.split(b"\n")
            records: list[Portable] = await asyncio.to_thread(records_for, lines, owner, namespace)
            await self._owners.note(asked)
            self._records.changed_elsewhere(namespace)
            restore = partial(self._store.restore, namespace)
            counts = await take_in(records, self._records, owner, restore)
        except Malformed as error:
            raise InvalidRequest(str(error)) from error
        except OtherNames as error:
            raise InvalidRequest(
                "The export was made by its owner's name alone, and fits no other memory."
            ) from error
        except NotEmpty as error:
            raise MemoryNotEmpty(
                "This memory has something of its own. Erase it first, or take another key or user."
            ) from error
        except StoreError as error:
            message = "Not all of the export may be stored. Send the request again."
            raise MemoryNotImported(message) from error
        log.info("a memory was imported: %d records", counts.total())
        return json_response({"imported": counts})

    async def _body(self, request: Request) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > self._max_body:
                    raise RequestTooLarge(
                        f"The export is larger than the {self._max_body // 2**20} MiB that this"
                        " gateway takes (max_request_mib); memgpt-proxy import takes any."
                    )
                parts.append(part)
        except ClientDisconnect as error:
            raise InvalidRequest("The export broke off.") from error
        return b"".join(parts)


def _with_users(request: Request) -> bool:
    """Return whether the memories of all users of a key are meant. Raises InvalidRequest."""
    given = request.query_params.get("users")
    if given is None:
        return False
    if given != "all":
        message = "users has to be 'all', or to be left out."
        raise InvalidRequest(message, param="users", code="invalid_value")
    if "user" in request.query_params:
        message = "Give user, for one, or users=all, for the key itself and all of its users."
        raise InvalidRequest(message, param="users", code="invalid_value")
    return True


async def _has_body(request: Request) -> bool:
    try:
        async for part in request.stream():
            if part:
                return True
    except ClientDisconnect as error:
        raise InvalidRequest("The request broke off.") from error
    return False


async def _all(first: Sequence[bytes], lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what an export has begun with, and the rest; without its end where that fails."""
    for several in first:
        yield several
    try:
        async for several in lines:
            yield several
    except StoreError as error:
        log.warning("an export was broken off: %s", error)


def _why(error: StoreError) -> str:
    match error:
        case StoreAway():
            return "The store is away: nothing was erased. Send the request again."
        case StoreFull():
            return (
                "The store's disk is full, and to erase takes some room: not all may be erased."
                " Make room, and send the request again."
            )
        case Remains():
            return (
                "Something is left, since requests of this memory are being answered."
                " Send the request again when they are."
            )
        case _:
            return "Not all of the memory may be erased. Send the request again."
