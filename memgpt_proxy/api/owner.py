"""Routes under ``/memgpt``: what the owner of a key may see of its own memory.

The same API key as for the conversation, in the same header, and ``user`` in the query where
requests name one.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from memgpt_proxy.api.owned import PREFIX, Owners, json_response, limit_of
from memgpt_proxy.errors import InvalidRequest, MemoryUnreadable, TooManyListeners
from memgpt_proxy.stores.events import Events, TooManySubscribers
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Namespace, Trace, TurnId
from memgpt_proxy.stores.trace_writer import TraceWriter

_USUAL_TRACES = 20
_LINE_END = "\n"


class OwnerRoutes:
    """Serves live events and traces.

    Args:
        owners: Knows whose memory is asked for.
        keepalive: Seconds of silence after which an event stream gets a comment.
    """

    def __init__(
        self,
        owners: Owners,
        traces: TraceWriter,
        events: Events,
        keepalive: float,
    ) -> None:
        self._owners = owners
        self._traces = traces
        self._events = events
        self._keepalive = keepalive

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        served: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "events": self.listen,
            "traces": self.list_traces,
        }
        return [Route(f"{PREFIX}/{path}", serve, methods=["GET"]) for path, serve in served.items()]

    async def listen(self, request: Request) -> Response:
        """Answer with what happens from now on, as server-sent events."""
        asked = self._owners.known(request)
        is_taken = partial(self._owners.authenticator.takes, asked.key)
        return _EventStream(self._events, asked.namespace, self._keepalive, is_taken)

    async def list_traces(self, request: Request) -> Response:
        """Answer with what turns did, the newest first."""
        namespace = self._owners.known(request, "limit", "before").namespace
        limit, before = limit_of(request, _USUAL_TRACES), _before(request)
        try:
            traces = await self._traces.traces(namespace, limit=limit, before=before)
        except StoreError as error:
            raise MemoryUnreadable("The traces cannot be read now.") from error
        following = _mark(traces[-1]) if len(traces) == limit else None
        return json_response({"data": [_trace(each) for each in traces], "before": following})


class _EventStream(EventSourceResponse):
    """The events of a namespace, for as long as the client stays.

    Args:
        is_taken: Tells whether its key still is: to one that was withdrawn nothing more is told.
    """

    def __init__(
        self,
        events: Events,
        namespace: Namespace,
        keepalive: float,
        is_taken: Callable[[], bool],
    ) -> None:
        super().__init__(
            self._heard(), ping=keepalive, ping_message_factory=_keep_alive, sep=_LINE_END
        )
        self._events = events
        self._namespace = namespace
        self._is_taken = is_taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._events.subscribe(self._namespace) as self._subscription:
                await super().__call__(scope, receive, send)
        except TooManySubscribers as error:
            raise TooManyListeners("Too many listen to live events already.") from error

    async def _heard(self) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(comment="listening", sep=_LINE_END)
        async for event in self._subscription:
            if not self._is_taken():
                return
            content = orjson.dumps(event.content).decode()
            yield ServerSentEvent(content, event=event.kind, sep=_LINE_END)


def _keep_alive() -> ServerSentEvent:
    return ServerSentEvent(comment="keep-alive", sep=_LINE_END)


def _before(request: Request) -> tuple[float, TurnId] | None:
    if (given := request.query_params.get("before")) is None:
        return None
    when, _, turn = given.partition("_")
    try:
        created = float(when)
    except ValueError:
        created = math.nan
    if math.isnan(created):
        raise InvalidRequest("before has to be the one that an answer had.", param="before")
    return created, TurnId(turn)


def _mark(trace: Trace) -> str:
    return f"{trace.created!r}_{trace.turn}"


def _trace(trace: Trace) -> dict[str, Any]:
    return {"turn": trace.turn, "created": trace.created, **orjson.loads(trace.content)}
