"""A memory as a whole, for the owner of its key: to erase it.

The same API key as for the conversation, in the same header, and ``user`` in the query where
requests name one. Each request counts against the key's limits: it is work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from memgpt_proxy.api.admission import Admission
from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.errors import MemoryNotErased
from memgpt_proxy.memory.erasing import Eraser
from memgpt_proxy.stores.protocols import Remains, StoreAway, StoreError
from memgpt_proxy.stores.records import Namespace

PREFIX = "/memgpt"


class MemoryRoutes:
    """Serves ``DELETE /memgpt/memory``."""

    def __init__(self, admission: Admission, authenticator: Authenticator, eraser: Eraser) -> None:
        self._admission = admission
        self._authenticator = authenticator
        self._eraser = eraser

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [Route(f"{PREFIX}/memory", self.erase, methods=["DELETE"])]

    async def erase(self, request: Request) -> Response:
        """Erase the caller's memory, and answer with what it held."""
        namespace = await self._namespace(request)
        try:
            erased = await self._eraser.erase(namespace)
        except StoreError as error:
            raise MemoryNotErased(_why(error)) from error
        return _json({"erased": asdict(erased)})

    async def _namespace(self, request: Request) -> Namespace:
        admitted = await self._admission.admit(request.headers.raw)
        return self._authenticator.namespace(admitted.key, request.query_params.get("user"))


def _why(error: StoreError) -> str:
    match error:
        case StoreAway():
            return "The store is away: nothing was erased. Send the request again."
        case Remains():
            return (
                "Something is left, since requests of this memory are being answered."
                " Send the request again when they are."
            )
        case _:
            return "Not all of the memory may be erased. Send the request again."


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
