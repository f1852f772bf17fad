"""``POST /v1/responses``, and what can be told of earlier responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Send

from memgpt_proxy.agent.agent import Agent
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.api.admission import Admission
from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.api.chat_request import json_object
from memgpt_proxy.api.checks import typed
from memgpt_proxy.api.endpoint import Forward, Opened, Turn
from memgpt_proxy.api.owned import json_response
from memgpt_proxy.api.reading import Call, RequestReader
from memgpt_proxy.api.replies import Reply
from memgpt_proxy.api.responses.items import uncalled
from memgpt_proxy.api.responses.names import new_node
from memgpt_proxy.api.responses.replies import StreamedResponse, WholeResponse
from memgpt_proxy.api.responses.request import (
    ResponsesRequest,
    input_of,
    not_found,
    read_request,
    references,
)
from memgpt_proxy.api.responses.response import Telling
from memgpt_proxy.api.responses.stored import resolved, response_of
from memgpt_proxy.errors import InvalidRequest, UnknownCall, UnknownReply
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import NodeId

PATH = "/v1/responses"


@dataclass(frozen=True, slots=True)
class Responses:
    """The dialect of OpenAI's newer clients."""

    agent: Agent
    reader: RequestReader
    store: Store

    async def open(self, call: Call) -> Opened | Forward:
        """Read a request and open its turn; without memory where that is kept out."""
        body = await self.reader.body(call)
        fields = json_object(body)
        items = await self._input(call, fields)
        request = read_request(fields, items, newest_only=call.told.newest_only)
        node = new_node()
        asked = self._asked(call, body, request, node)
        try:
            turn = await self.agent.open(asked)
        except UnknownReply as error:
            raise not_found(str(fields.get("previous_response_id"))) from error
        except UnknownCall as error:
            raise uncalled(error.call) from error
        telling = Telling(request, node, stored=asked.reply is not None)
        return Opened(turn, partial(_reply, request, telling, turn))

    async def _input(self, call: Call, fields: Mapping[str, Any]) -> Sequence[Any]:
        items = input_of(fields)
        if call.is_apart or not references(items):
            return items
        namespace = self.reader.namespace(call, typed(fields, "user", str, "a string"))
        return await resolved(self.store, namespace, items)

    def _asked(
        self, call: Call, body: bytes, request: ResponsesRequest, node: NodeId
    ) -> TurnRequest:
        named = call.naming(request.conversation)
        asked = self.reader.asked(named, body, request.chat, request.after)
        apart = call.is_apart or self.reader.is_task(request.chat)
        if apart and request.after is not None:
            raise InvalidRequest(
                "Without memory there is no earlier response to go on from.",
                param="previous_response_id",
            )
        kept = request.store and asked.writes and not apart
        return replace(asked, remembers=not apart, reply=node if kept else None)


def _reply(request: ResponsesRequest, telling: Telling, turn: Turn, send: Send) -> Reply:
    if request.stream:
        return StreamedResponse(send, telling, degraded=turn.degraded)
    return WholeResponse(send, telling)


class StoredResponses:
    """Routes below ``/v1/responses``: what the transcript tree can tell, and why not the rest."""

    def __init__(self, admission: Admission, authenticator: Authenticator, store: Store) -> None:
        self._admission = admission
        self._authenticator = authenticator
        self._store = store

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        one = f"{PATH}/{{name}}"
        served: tuple[tuple[str, str, Callable[[Request], Awaitable[Response]]], ...] = (
            (one, "GET", self.retrieve),
            (one, "DELETE", self.delete),
            (f"{one}/input_items", "GET", self.input_items),
            (f"{one}/cancel", "POST", self.cancel),
        )
        return [Route(path, serve, methods=[method]) for path, method, serve in served]

    async def retrieve(self, request: Request) -> Response:
        """Answer with what is kept of a response."""
        if request.query_params.get("stream") == "true":
            raise _unsupported("A response cannot be streamed again.", "stream")
        return json_response(await self._found(request))

    async def delete(self, request: Request) -> Response:
        """A response is a message of a conversation, which others may hang on."""
        await self._found(request)
        raise _unsupported("A single response cannot be deleted: it is part of a conversation.")

    async def input_items(self, request: Request) -> Response:
        """Input is kept as the model sees it, not as it was sent."""
        await self._found(request)
        raise _unsupported("The input of a response is not kept as it was sent.")

    async def cancel(self, request: Request) -> Response:
        """Only what runs in the background could be cancelled; all else ends with its client."""
        await self._found(request)
        raise _unsupported("Cannot cancel a synchronous response.")

    async def _found(self, request: Request) -> dict[str, Any]:
        admitted = await self._admission.admit(request.headers.raw)
        user = request.query_params.get("user")
        namespace = self._authenticator.namespace(admitted.key, user)
        return await response_of(self._store, namespace, request.path_params["name"])


def _unsupported(why: str, param: str | None = None) -> InvalidRequest:
    return InvalidRequest(why, param=param, code="unsupported_operation")
