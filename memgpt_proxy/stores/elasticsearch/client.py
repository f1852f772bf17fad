"""The connection to Elasticsearch, and what its errors mean to a caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from elastic_transport import AiohttpHttpNode, ApiResponse, HttpHeaders
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    ConnectionError,
    ConnectionTimeout,
    OrjsonSerializer,
    TransportError,
    UnsupportedProductError,
)

from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable

Json = dict[str, Any]

MAJOR_VERSIONS = ("8", "9")
"""Releases of Elasticsearch that this code speaks to."""

RETRIED = (429, 502, 503, 504)
"""Answers that another node, or the same one a moment later, may take back."""

QUIET_SECONDS = 2.0
"""After so long without an answer the server is asked whether it is there at all."""

PULSE_SECONDS = 2.0
"""How long that may take, at each node that is asked: the answer is at hand."""

MOST_SECONDS = 9.0
"""How long a request may take with all its attempts: less than a turn waits until it is stored, so
that what cannot be is kept elsewhere by then."""

MOST_OTHERS = 2
"""Further nodes that are asked, where the first says nothing."""

LARGE_BYTES = 1 << 19
"""A body beyond this goes piece by piece."""

_JSON = {"accept": "application/json", "content-type": "application/json"}
_LINES = {"accept": "application/json", "content-type": "application/x-ndjson"}

_PASSING = {"cluster_block_exception", "index_closed_exception"}
"""Errors that pass, whatever their status: an index that is being copied takes no writes, one that
somebody has closed will be opened."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where Elasticsearch is, and who asks.

    Attributes:
        hosts: URLs of some or all nodes.
        api_key: A key in its encoded form, or None.
        basic_auth: User and password, or None.
        ca_file: Certificates that the nodes' are checked against; None for the usual ones.
        request_timeout: Seconds for one attempt.
        retries: Further attempts, each at the next node.
        connections: Connections to each node at most.
    """

    hosts: Sequence[str]
    api_key: str | None = None
    basic_auth: tuple[str, str] | None = None
    ca_file: Path | None = None
    request_timeout: float = 5.0
    retries: int = 2
    connections: int = 32


class _Node(AiohttpHttpNode):
    """A node that writes no log, and to which a large body goes piece by piece."""

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        sent = cast("bytes", BytesIO(body)) if body and len(body) > LARGE_BYTES else body
        return await super().perform_request(method, target, sent, headers, request_timeout)

    def _log_request(self, *_: object, **__: object) -> None:
        """Write nothing: there are people's words in requests and answers."""


def connect(connection: Connection) -> AsyncElasticsearch:
    """Return a client; nothing is sent yet. Raises StoreError for values that cannot be."""
    options: Json = {"ca_certs": str(connection.ca_file)} if connection.ca_file else {}
    try:
        return AsyncElasticsearch(
            list(connection.hosts),
            api_key=connection.api_key,
            basic_auth=connection.basic_auth,
            request_timeout=connection.request_timeout,
            max_retries=connection.retries,
            retry_on_timeout=True,  # every write of ours can be repeated
            retry_on_status=RETRIED,
            connections_per_node=connection.connections,
            serializer=OrjsonSerializer(),
            node_class=_Node,
            **options,
        )
    except (OSError, ValueError) as error:
        raise StoreError(f"no connection to Elasticsearch can be made: {error}") from error


async def server_version(client: AsyncElasticsearch) -> str:
    """Return the server's version. Raises StoreError if it is none that this code speaks to."""
    info = await send(client, "GET", "/")
    version = info.get("version") if isinstance(info, dict) else None
    number = str(version.get("number", "?")) if isinstance(version, dict) else "?"
    if number.partition(".")[0] not in MAJOR_VERSIONS:
        raise StoreError(f"the server is version {number}: Elasticsearch 8 or 9 is needed")
    return number


async def provoke(client: AsyncElasticsearch, index: str) -> None:
    """Have each node meet an error, while there is nothing else that could make it meet one.

    With its first error it makes ready what it knows of all of them. Where two threads do that at
    once, each for an error of another kind, they wait for one another for good (seen in 9.4.3),
    and so does whoever meets an error later: writes get no answer, while its health is green.

    Raises StoreUnavailable where they are away.
    """
    for _ in range(len(client.transport.node_pool)):  # they are asked in turn
        with suppress(Refused):
            await send(client, "GET", f"/{index}/_doc/none")  # without the routing that it needs


async def send(
    client: AsyncElasticsearch,
    method: str,
    path: str,
    body: object = None,
    *,
    params: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> Any:
    """Send a request and return what was answered, as JSON.

    Args:
        client: From ``connect``.
        method: Of HTTP.
        path: What is asked, quoted.
        body: JSON; bytes are lines of JSON, and sent as they are.
        params: Further parameters.
        seconds: How long one attempt may take, where that is not as for others; then all of them
            may.

    A server that answers nothing is not waited for as long as one that is slow.

    Raises StoreUnavailable or StoreError, and ``Refused`` for an answer that tells an error.
    """
    target = f"{path}?{urlencode(params)}" if params else path
    asked = client.options(request_timeout=seconds) if seconds is not None else client
    headers = _LINES if isinstance(body, bytes) else _JSON
    loop = asyncio.get_running_loop()
    begun = loop.time()
    asking = loop.create_task(
        _asked(asked.perform_request(method, target, headers=headers, body=body))
    )
    try:
        _, quiet = await asyncio.wait([asking], timeout=QUIET_SECONDS)
        if quiet and not await _has_pulse(client) and not asking.done():
            raise StoreUnavailable("Elasticsearch takes connections, and says nothing")
        if quiet and seconds is None:
            await asyncio.wait([asking], timeout=begun + MOST_SECONDS - loop.time())
            if not asking.done():
                raise StoreUnavailable("Elasticsearch takes too long with a request")
        return await asking
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.wait([asking])
        elif not asking.cancelled():
            asking.exception()  # nobody else may have looked


async def _asked(request: Awaitable[ApiResponse[Any]]) -> Any:
    try:
        return (await request).body
    except (ApiError, TransportError) as error:
        raise store_error(error) from error


async def _has_pulse(client: AsyncElasticsearch) -> bool:
    """Return whether any answer comes from the server; it is asked for what it has at hand."""
    others = min(len(client.transport.node_pool) - 1, MOST_OTHERS)
    asked = client.options(request_timeout=PULSE_SECONDS, max_retries=others)
    try:
        await asked.perform_request("GET", "/", headers=_JSON)
    except ConnectionTimeout:
        return False
    except (ApiError, TransportError):
        return True  # the request itself will tell what is wrong
    return True


class Refused(StoreError):
    """The server refused a request: its ``status``, and the ``kind`` of its error."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(f"Elasticsearch refused a request: {status} {kind}: {reason}")
        self.status = status
        self.kind = kind


class Denied(Refused, StoreUnavailable):
    """The server does not let us in, or not yet: an operator can change that."""


def store_error(error: ApiError | TransportError) -> StoreError:
    """Return the error that callers see: unavailable where the same call may work later."""
    if isinstance(error, UnsupportedProductError):
        return StoreError("the server is not Elasticsearch: Elasticsearch 8 or 9 is needed")
    if isinstance(error, ConnectionError | ConnectionTimeout):
        return StoreUnavailable(f"Elasticsearch cannot be reached: {_innermost(error)}")
    if isinstance(error, ApiError):
        kind, reason = _told(error.body)
        return answered(error.status_code, kind, reason)
    return StoreError(f"what Elasticsearch answered cannot be read: {type(error).__name__}")


def _innermost(error: TransportError) -> Exception:
    """Return what a failure came from: each error around it would only repeat its words."""
    cause: Exception = error
    while isinstance(cause, TransportError) and cause.errors:
        cause = cause.errors[0]
    return cause


def answered(status: int, kind: str, reason: str) -> StoreError:
    """Return the error in an answer, or in an item of one."""
    if status in (408, 429) or status >= 500 or kind in _PASSING:
        return StoreUnavailable(f"Elasticsearch is unavailable: {status} {kind}: {reason}")
    if status in (401, 403):
        return Denied(status, kind, reason)
    return Refused(status, kind, reason)


def _told(body: object) -> tuple[str, str]:
    """Return kind and reason of the error in a body."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return str(error.get("type", "error")), reason_of(error)
    return "error", ""


def reason_of(error: Mapping[str, Any]) -> str:
    """Return why an error came about, cut to a line."""
    causes = error.get("root_cause") or [error]
    return str(causes[0].get("reason", ""))[:200]
