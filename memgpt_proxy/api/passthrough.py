"""Every other ``/v1`` path: to the backend and back, byte for byte, streams included."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import orjson
from starlette.types import Receive, Scope, Send

from memgpt_proxy.agent.mending import Mending
from memgpt_proxy.api.admission import Admission
from memgpt_proxy.api.body import ClientGone, read_body, while_client_stays
from memgpt_proxy.api.replies import send_error
from memgpt_proxy.backend.client import Backend, Route, map_transport_error
from memgpt_proxy.backend.headers import RawHeaders, end_to_end
from memgpt_proxy.errors import BackendRefused, GatewayError, InvalidRequest, Stopping

log = logging.getLogger(__name__)

PREFIX = "/v1"
_WHOLE = 2**20
"""Bytes of a request body up to which it is read before it is sent on."""

_REFUSED = 400

Exchange = Callable[[], AbstractAsyncContextManager[httpx.Response]]
"""Sends a request and gives its response; raises GatewayError where there is none."""

Ask = Callable[[bytes], AbstractAsyncContextManager[httpx.Response]]
"""The same, of a request with this body."""

Mend = Callable[[Route], Mending]
"""Gives what may be done for a request that goes to a route."""


@dataclass(frozen=True, slots=True)
class Read:
    """A request's body, where it is read before it is forwarded.

    Attributes:
        fields: What is in it, where it is a JSON object that names a model.
        mend: Gives what may be done for the backend of a route to take it.
    """

    body: bytes
    fields: Mapping[str, Any] | None = None
    mend: Mend | None = None


class Passthrough:
    """The endpoint: an ASGI application for all paths under ``/v1``."""

    def __init__(self, backend: Backend, admission: Admission) -> None:
        self._backend = backend
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request if it is let in."""
        try:
            admitted = await self._admission.admit(scope["headers"])
        except GatewayError as error:
            await send_error(send, error)
            return
        await self.forward(scope, receive, admitted.answering(send))

    async def forward(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        read: Read | None = None,
    ) -> None:
        """Forward one request that was let in; its client's leaving cancels it.

        Args:
            read: The request's body, where it has been read from ``receive`` already.
        """
        response = _Response(send)
        upload = Upload(receive)
        try:
            exchange = await self._exchange(scope, receive, upload, read)
        except ClientGone:
            return
        except GatewayError as error:
            await response.fail(error)
            return
        try:
            await while_client_stays(_answer(exchange, response), _watch(receive, upload))
        except asyncio.CancelledError:  # by the server, which waits for us no longer
            await response.fail(Stopping())

    async def _exchange(
        self, scope: Scope, receive: Receive, upload: Upload, read: Read | None
    ) -> Exchange:
        headers: RawHeaders = scope["headers"]
        method, target = scope["method"], target_of(scope)
        body = read.body if read is not None else await _whole(receive, headers)
        if body is not None:
            upload.read.set()
        if read is not None and read.fields is not None and read.mend is not None:
            route = self._backend.routes(read.fields["model"])[0]

            def ask(sent: bytes) -> AbstractAsyncContextManager[httpx.Response]:
                sized = headers if sent is read.body else without_length(headers)
                return route.backend.exchange(self._backend.forward(method, target, sized, sent))

            return partial(mended, ask, read.mend(route), read.body)
        sent = upload if body is None else body
        request = self._backend.forward(method, target, headers, sent)
        return partial(self._backend.exchange, request)


async def _answer(exchange: Exchange, response: _Response) -> None:
    try:
        async with exchange() as answer:
            await response.relay(answer)
    except GatewayError as error:
        await response.fail(error)


@asynccontextmanager
async def mended(ask: Ask, mending: Mending, body: bytes) -> AsyncIterator[httpx.Response]:
    """Give the answer to a request, sent once more where the first refusal can be mended."""
    sent = mending.before(body)
    async with ask(sent) as answer:
        if answer.status_code != _REFUSED:
            yield answer
            return
        refusal = await _kept(answer)
    again = mending.after(BackendRefused(_REFUSED, (), _decoded(refusal)), sent)
    if again is None:
        yield refusal
        return
    async with ask(again) as answer:
        if answer.is_success:
            mending.succeeded()
        yield answer


async def _kept(answer: httpx.Response) -> httpx.Response:
    """Return an answer with its body read, as it came."""
    try:
        raw = b"".join([data async for data in answer.stream])  # type: ignore[union-attr]
    except httpx.TransportError as error:
        raise map_transport_error(error, answering=True) from error
    return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(raw))


def _decoded(answer: httpx.Response) -> bytes:
    """Return a body as it is read; empty where its coding is broken."""
    try:
        return answer.read()
    except httpx.DecodingError:
        return b""


def fields_of(body: bytes) -> dict[str, Any] | None:
    """Return a body's fields where it is a JSON object that names a model."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    named = isinstance(fields, dict) and isinstance(fields.get("model"), str)
    return fields if named else None


def without_length(headers: RawHeaders) -> RawHeaders:
    """Return a request's headers for a body of another length."""
    return [header for header in headers if header[0] != b"content-length"]


def target_of(scope: Scope) -> str:
    """Return a request's path below ``/v1``, with its query; raises InvalidRequest."""
    if ".." in scope["path"].split("/"):
        raise InvalidRequest(f"The path leads out of {PREFIX}.")
    target: str = scope["raw_path"].decode("ascii").removeprefix(PREFIX)
    query = scope["query_string"]
    return f"{target}?{query.decode('ascii')}" if query else target


class Upload(httpx.AsyncByteStream):
    """A request body on its way to the backend, as the client sends it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.read = asyncio.Event()
        """Set once the body is read whole: what the client says then is that it leaves."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            if data := message.get("body", b""):
                yield data
        self.read.set()


class _Response:
    """A backend's response on its way to the client."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = False

    async def relay(self, answer: httpx.Response) -> None:
        """Send the whole response as it comes. Raises GatewayError when it breaks off."""
        self._started = True
        headers = end_to_end(answer.headers.raw)
        await self._send(
            {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        )
        try:
            async for data in answer.stream:  # type: ignore[union-attr]
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except httpx.TransportError as error:
            raise map_transport_error(error, answering=True) from error
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: GatewayError) -> None:
        """Tell the error; once the response has begun, it can only be left unfinished."""
        if self._started:
            log.warning("a forwarded response broke off: %s", error.message)
        else:
            await send_error(self._send, error)


async def _watch(receive: Receive, upload: Upload) -> None:
    await upload.read.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientGone


async def _whole(receive: Receive, headers: RawHeaders) -> bytes | None:
    """Return a request's body, or None where it is to be sent on while it comes."""
    size = _size(headers)
    if size is None or size > _WHOLE:
        return None
    return await read_body(receive, _WHOLE) if size else b""


def _size(headers: RawHeaders) -> int | None:
    """Return the size of the request's body, or None where only its end will tell."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0
