"""What requests of a memory's owner have in common: their paths, queries, bodies and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from memgpt_proxy.api.admission import Admission
from memgpt_proxy.api.authentication import USER, Authenticator
from memgpt_proxy.api.body import ClientGone, read_body
from memgpt_proxy.api.chat_request import json_object
from memgpt_proxy.errors import InvalidRequest
from memgpt_proxy.memory.users import Users
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.values import dataclass

PREFIX = "/memgpt"
"""What the paths of their routes begin with."""

NOT_KEPT = {"cache-control": "no-store"}
"""A header: what a memory holds stays in no cache, of a browser or on the way to it."""

MOST_LISTED = 100
"""Entries in one answer."""

_DIGITS = 9
"""Of a number in a query, at the most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which memory a request is about, and whose key asks.

    Attributes:
        of_user: It is that of a user of the key.
    """

    key: bytes
    namespace: Namespace
    of_user: bool


@dataclass(frozen=True, slots=True)
class Owners:
    """Knows by key and query which memory a request is about.

    Each method that returns this raises Unauthenticated, and InvalidRequest for a query with
    something else than ``user`` and what the route ``takes``.
    """

    admission: Admission
    authenticator: Authenticator
    users: Users

    def known(self, request: Request, *takes: str) -> Asked:
        """Return what is asked for, by a request that counts against no limit."""
        return self._asked(request, self.authenticator.check(request.headers.raw), takes)

    async def admitted(self, request: Request, *takes: str) -> Asked:
        """Return what is asked for, by one that counts. Raises RateLimited, too."""
        admitted = await self.admission.admit(request.headers.raw)
        return self._asked(request, admitted.key, takes)

    async def note(self, asked: Asked) -> None:
        """Have it written down, before a write, that a key has this user, if it is one's memory."""
        if asked.of_user:
            await self.users.note(self.register(asked), asked.namespace, anew=True)

    def register(self, asked: Asked) -> Namespace:
        """Return where the users of the key are written down."""
        return self.authenticator.register_of(asked.key)

    def _asked(self, request: Request, key: bytes, takes: Sequence[str]) -> Asked:
        query = request.query_params
        namespace = self.authenticator.namespace_asked_for(key, query, *takes)
        return Asked(key, namespace, USER in query)


def json_response(content: object) -> Response:
    """Return an answer of JSON."""
    return Response(orjson.dumps(content), media_type="application/json", headers=NOT_KEPT)


def limit_of(request: Request, usual: int) -> int:
    """Return how many entries the query asks for, ``usual`` by default. Raises InvalidRequest."""
    limit = _number(request, "limit", usual)
    if not 1 <= limit <= MOST_LISTED:
        raise InvalidRequest(f"limit has to be from 1 to {MOST_LISTED}.", param="limit")
    return limit


def page_of(request: Request) -> int:
    """Return which page the query asks for, the first by default. Raises InvalidRequest."""
    page = _number(request, "page", 1)
    if page < 1:
        raise InvalidRequest("page has to be a whole number from 1 on.", param="page")
    return page


async def fields_of(request: Request, *known: str, most: int) -> Mapping[str, Any]:
    """Return the JSON object in the request's body, which has nothing but ``known`` fields.

    Args:
        most: Bytes of the body.

    Raises:
        InvalidRequest: It is none, or has others.
        RequestTooLarge, RequestTimeout: It cannot be read.
    """
    try:
        body = await read_body(request.receive, most)
    except ClientGone as error:
        raise InvalidRequest("The request broke off.") from error
    fields = json_object(body)
    for name in fields:
        if name not in known:
            message = f"Unknown parameter: {name!r}."
            raise InvalidRequest(message, param=name, code="unknown_parameter")
    return fields


def _number(request: Request, name: str, usual: int) -> int:
    """Return a number of the query; 0 for what is none."""
    given = request.query_params.get(name, str(usual))
    return int(given[:_DIGITS]) if given.isascii() and given.isdecimal() else 0
