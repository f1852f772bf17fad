"""A client for what the gateway has of its own: a memory, to see, search, edit, export and erase.

::

    memory = Memory("http://127.0.0.1:8484", "YOUR_KEY", user="ann")
    memory.working_context().content

``AsyncMemory`` has the same operations, each to be awaited. To talk, use OpenAI's SDK with the
same key. Each operation raises ``MemoryRefused`` where the gateway refuses it, and
``httpx.TransportError`` where it cannot be reached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import update_wrapper
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from memgpt_proxy.api import shapes

P = ParamSpec("P")
Answer = TypeVar("Answer", bound=BaseModel)

SECONDS = 60.0
"""How long an answer may take, and a stream be silent, unless the caller says otherwise."""


class MemoryRefused(Exception):
    """The gateway has refused what it was asked.

    Attributes:
        status: Of the answer.
        code: A short word for programs; None where there is none.
        param: What of the request is at fault, if anything.
    """

    def __init__(self, status: int, message: str, code: str | None, param: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a turn does; what kinds there are and what each holds, ``docs/events.md``."""

    kind: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Call(Generic[Answer]):
    """A request, and the shape of its answer."""

    shape: type[Answer]
    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    content: bytes | None = None

    def answer(self, response: httpx.Response) -> Answer:
        """Return what has come. Raises MemoryRefused."""
        _check(response)
        return self.shape.model_validate_json(response.content)


def _check(response: httpx.Response) -> None:
    """Raise MemoryRefused unless it was done; the body is there."""
    if response.is_success:
        return
    try:
        told = shapes.Error.model_validate_json(response.content).error
    except ValidationError:  # of something that stands before the gateway
        raise MemoryRefused(response.status_code, response.reason_phrase, None, None) from None
    raise MemoryRefused(response.status_code, told.message, told.code, told.param)


def _named(**query: str | int | date | None) -> dict[str, str | int]:
    """Return what is given of a query."""
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in query.items()
        if value is not None
    }


def _working_context() -> _Call[shapes.WorkingContext]:
    """Return the working context as it is now."""
    return _Call(shapes.WorkingContext, "GET", "working-context")


def _edit_working_context(version: int, content: str) -> _Call[shapes.WorkingContext]:
    """Replace the version that was read; return the new one.

    MemoryRefused has the code ``working_context_changed`` where it is another by now.
    """
    body = orjson.dumps({"version": version, "content": content})
    return _Call(shapes.WorkingContext, "PUT", "working-context", content=body)


def _messages(
    query: str | None = None,
    *,
    start_date: date | None = None,
    end_date: date | None = None,
    page: int = 1,
    limit: int = 10,
) -> _Call[shapes.RecallPage]:
    """Return messages: those that a query or days ask for, else all, the newest first.

    Args:
        query: Words, "quoted phrases" and identifiers.
        start_date, end_date: In place of it: days of the gateway's time zone, both included.
        page: From 1.
        limit: Messages on a page, 100 at the most.
    """
    asked = _named(query=query, start_date=start_date, end_date=end_date, page=page, limit=limit)
    return _Call(shapes.RecallPage, "GET", "recall-storage", asked)


def _passages(
    query: str | None = None, *, page: int = 1, limit: int = 10
) -> _Call[shapes.ArchivalPage]:
    """Return passages of archival storage: the best for a query, else all, the newest first."""
    asked = _named(query=query, page=page, limit=limit)
    return _Call(shapes.ArchivalPage, "GET", "archival-storage", asked)


def _insert(content: str) -> _Call[shapes.Inserted]:
    """Store a note or a document in archival storage; the same once more is stored once."""
    body = orjson.dumps({"content": content})
    return _Call(shapes.Inserted, "POST", "archival-storage", content=body)


def _traces(*, limit: int = 20, before: str | None = None) -> _Call[shapes.Traces]:
    """Return what turns did, the newest first; ``before`` as an earlier answer had it."""
    return _Call(shapes.Traces, "GET", "traces", _named(limit=limit, before=before))


def _erase(*, all_users: bool = False) -> _Call[shapes.Erased]:
    """Erase all of this memory; with ``all_users`` that of the key and of all of its users."""
    return _Call(shapes.Erased, "DELETE", "memory", {"users": "all"} if all_users else {})


def _import_from(exported: bytes) -> _Call[shapes.Imported]:
    """Store an export in this memory, which has to be empty."""
    return _Call(shapes.Imported, "POST", "import", content=exported)


class _Operation(Generic[P, Answer]):
    """An operation of both clients: each carries it out in its own way."""

    def __init__(self, call: Callable[P, _Call[Answer]]) -> None:
        self._call = call

    @overload
    def __get__(self, client: Memory, owner: type[Memory]) -> Callable[P, Answer]: ...

    @overload
    def __get__(
        self, client: AsyncMemory, owner: type[AsyncMemory]
    ) -> Callable[P, Awaitable[Answer]]: ...

    def __get__(self, client: Any, owner: Any) -> Any:
        if client is None:
            return self._call

        def carry_out(*args: P.args, **options: P.kwargs) -> Any:
            return client.carry_out(self._call(*args, **options))

        return update_wrapper(carry_out, self._call)


class _Operations:
    working_context = _Operation(_working_context)
    edit_working_context = _Operation(_edit_working_context)
    messages = _Operation(_messages)
    passages = _Operation(_passages)
    insert = _Operation(_insert)
    traces = _Operation(_traces)
    erase = _Operation(_erase)
    import_from = _Operation(_import_from)


def _options(origin: str, key: str, user: str | None, timeout: float) -> dict[str, Any]:
    """Return how either client of httpx is made."""
    return {
        "base_url": f"{origin.rstrip('/').removesuffix('/v1')}/memgpt/",
        "headers": {"authorization": f"Bearer {key}".encode()} if key else {},
        "params": {} if user is None else {"user": user},
        "timeout": timeout,
    }


class Memory(_Operations):
    """A memory behind a gateway.

    Args:
        origin: The gateway's address, such as ``http://127.0.0.1:8484``; a base URL will do.
        key: The API key whose memory it is; empty where the gateway takes requests without one.
        user: The end user of the key whose it is; None for the key's own.
        timeout: Seconds that an answer may take, and a stream be silent.
    """

    def __init__(
        self, origin: str, key: str, user: str | None = None, *, timeout: float = SECONDS
    ) -> None:
        self._http = httpx.Client(**_options(origin, key, user, timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def carry_out(self, call: _Call[Answer]) -> Answer:
        """Ask the gateway."""
        return call.answer(
            self._http.request(call.method, call.path, params=call.query, content=call.content)
        )

    def export(self) -> Iterator[bytes]:
        """Yield all of this memory, as lines of JSON in pieces of any size."""
        with self._http.stream("GET", "export") as response:
            if response.is_error:
                response.read()
            _check(response)
            yield from response.iter_bytes()

    def events(self) -> Iterator[Event]:
        """Yield what turns do from now on."""
        reader = _EventReader()
        with self._http.stream("GET", "events") as response:
            if response.is_error:
                response.read()
            _check(response)
            for data in response.iter_bytes():
                yield from reader.feed(data)


class AsyncMemory(_Operations):
    """A memory behind a gateway, for asyncio; arguments as of ``Memory``."""

    def __init__(
        self, origin: str, key: str, user: str | None = None, *, timeout: float = SECONDS
    ) -> None:
        self._http = httpx.AsyncClient(**_options(origin, key, user, timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def carry_out(self, call: _Call[Answer]) -> Answer:
        """Ask the gateway."""
        return call.answer(
            await self._http.request(
                call.method, call.path, params=call.query, content=call.content
            )
        )

    async def export(self) -> AsyncIterator[bytes]:
        """Yield all of this memory, as lines of JSON in pieces of any size."""
        async with self._http.stream("GET", "export") as response:
            if response.is_error:
                await response.aread()
            _check(response)
            async for data in response.aiter_bytes():
                yield data

    async def events(self) -> AsyncIterator[Event]:
        """Yield what turns do from now on."""
        reader = _EventReader()
        async with self._http.stream("GET", "events") as response:
            if response.is_error:
                await response.aread()
            _check(response)
            async for data in response.aiter_bytes():
                for event in reader.feed(data):
                    yield event


class _EventReader:
    """Finds the events in a stream of the gateway's, whose lines end with a line feed alone."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Take one read; return the events that it completes."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        return [event for block in blocks if (event := _event(block)) is not None]


def _event(block: bytes) -> Event | None:
    """Return the event in a block of lines; None for a comment."""
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
    if b"data" not in fields:
        return None
    return Event(fields[b"event"].decode(), orjson.loads(fields[b"data"]))
