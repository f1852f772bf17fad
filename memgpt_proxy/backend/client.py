"""One backend: requests out, chunks in. Always streamed, whatever the client asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx
import orjson

from memgpt_proxy.backend.headers import (
    RawHeaders,
    about_the_call,
    end_to_end,
    for_a_step,
    forwarded,
    with_authorization,
)
from memgpt_proxy.errors import (
    BackendBroken,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    GatewayError,
)
from memgpt_proxy.wire.chat import Chunk, completion_to_chunk
from memgpt_proxy.wire.sse import EventParser, StreamTooLarge

_DONE = b"[DONE]"
_JSON = (
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
)
_END_SECONDS = 0.1
_LARGEST_WHOLE_ANSWER = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the backend may take, in seconds."""

    connect: float
    idle: float


class Backend:
    """A server that speaks chat completions.

    Args:
        url: Its base URL, such as ``http://127.0.0.1:11434/v1``.
        transport: What carries the requests; shared, and not closed from here.
        api_key: Its key; None sends each client's own.
        timeouts: Raises BackendTimeout where one of them is exceeded.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport,
        *,
        api_key: str | None,
        timeouts: Timeouts,
    ) -> None:
        self.url = url.rstrip("/")
        self._transport = transport
        self._api_key = api_key
        self._completions = httpx.URL(f"{self.url}/chat/completions")
        self._extensions = {
            "timeout": {"connect": timeouts.connect, "read": timeouts.idle, "pool": None}
        }

    @asynccontextmanager
    async def stream(self, body: bytes, headers: RawHeaders) -> AsyncIterator[ChunkStream]:
        """Ask for a chat completion and give its chunks as they come.

        Args:
            body: The request, as JSON with ``"stream": true``.
            headers: The client's; what belongs to a step goes along.

        Raises:
            BackendRefused: It answered with another status than 200.
            BackendUnreachable, BackendTimeout, BackendBroken: It did not answer properly.
        """
        request = self._request("POST", self._completions, self._step_headers(headers), body)
        response = await self.send(request)
        try:
            if response.status_code != 200:
                raise await _refusal(response)
            yield ChunkStream(response)
        finally:
            await response.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request as it is; return when the response's head is there."""
        try:
            return await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise map_transport_error(error) from error

    async def post(self, target: str, body: bytes) -> bytes:
        """Ask for something on the gateway's own account; return the whole answer.

        Args:
            target: Path below the base URL, such as ``/embeddings``.
            body: JSON.

        Raises:
            BackendRefused, BackendUnreachable, BackendTimeout, BackendBroken: As ``stream``.
        """
        headers = with_authorization(list(_JSON), self._api_key)
        response = await self.send(
            self._request("POST", httpx.URL(self.url + target), headers, body)
        )
        try:
            if response.status_code != 200:
                raise await _refusal(response)
            return await _read_bounded(response, _LARGEST_WHOLE_ANSWER)
        finally:
            await response.aclose()

    def forward(
        self, method: str, target: str, headers: RawHeaders, body: httpx.AsyncByteStream | bytes
    ) -> httpx.Request:
        """Return a client's request, readdressed to the backend and otherwise as it came.

        Args:
            target: Path and query below the base URL, such as ``/models?limit=2``.
        """
        url = httpx.URL(self.url + target)
        kept = with_authorization(forwarded(headers), self._api_key)
        return self._request(method, url, kept, body)

    def _request(
        self, method: str, url: httpx.URL, headers: RawHeaders, body: httpx.AsyncByteStream | bytes
    ) -> httpx.Request:
        stream = httpx.ByteStream(body) if isinstance(body, bytes) else body
        return httpx.Request(
            method, url, headers=headers, stream=stream, extensions=self._extensions
        )

    def _step_headers(self, headers: RawHeaders) -> RawHeaders:
        return [
            *with_authorization(for_a_step(headers), self._api_key),
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream, application/json"),
            (b"accept-encoding", b"identity"),
        ]


class ChunkStream:
    """The chunks of one completion, as many at a time as one network read brings."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._parser = EventParser()
        self.done = False
        """Whether the backend said ``[DONE]``, or answered whole."""

    @property
    def headers(self) -> RawHeaders:
        """The response's headers about the call: request id, rate limits."""
        return about_the_call(self._response.headers.raw)

    async def __aiter__(self) -> AsyncIterator[list[Chunk]]:
        """Yield chunks until the backend is done or closes.

        Raises:
            BackendBroken: The stream broke off or is none.
            BackendTimeout: It was silent for too long.
        """
        try:
            stream = aiter(self._response.stream)  # type: ignore[arg-type]
            begun = False
            async for data in stream:
                if not begun and (start := data.lstrip()):
                    if _is_whole(start, self._response):
                        yield [await self._whole(data, stream)]
                        return
                    begun = True
                if chunks := self._chunks(self._parser.feed(data)):
                    yield chunks
                if self.done:
                    await _read_end(stream)
                    return
            if chunks := self._chunks(self._parser.close()):
                yield chunks
        except httpx.TransportError as error:
            raise map_transport_error(error, answering=True) from error
        except StreamTooLarge as error:
            raise BackendBroken("The backend sent an event that is too large.") from error

    def _chunks(self, events: Iterable[bytes]) -> list[Chunk]:
        chunks = []
        for event in events:
            if event == _DONE:
                self.done = True
            elif not self.done:
                chunks.append(_parse(event))
        return chunks

    async def _whole(self, first: bytes, stream: AsyncIterator[bytes]) -> Chunk:
        completion = _parse(await _gather(first, stream, _LARGEST_WHOLE_ANSWER))
        self.done = True
        if completion.get("error"):
            return completion
        try:
            return completion_to_chunk(completion)  # type: ignore[arg-type]
        except (AttributeError, TypeError) as error:
            raise BackendBroken("The backend's answer is no chat completion.") from error


async def _read_end(stream: AsyncIterator[bytes]) -> None:
    """Read what follows ``[DONE]``: mostly just the end, after which the connection is kept.

    A backend that does not end its response is not waited for.
    """
    with suppress(TimeoutError, httpx.TransportError):
        async with asyncio.timeout(_END_SECONDS):
            async for _ in stream:
                pass


def map_transport_error(error: httpx.TransportError, *, answering: bool = False) -> GatewayError:
    """Return what a transport error means to the client.

    Args:
        answering: The response had begun.
    """
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return BackendTimeout("The backend could not be connected to in time.")
        case httpx.TimeoutException():
            return BackendTimeout("The backend was silent for too long.")
        case httpx.ConnectError() | httpx.UnsupportedProtocol():
            return BackendUnreachable("The backend cannot be reached.")
        case _ if answering:
            return BackendBroken("The backend's answer broke off.")
        case _:
            return BackendUnreachable("The backend closed the connection without an answer.")


def _parse(event: bytes) -> Chunk:
    try:
        chunk = orjson.loads(event)
    except orjson.JSONDecodeError as error:
        raise BackendBroken("The backend's answer is not JSON.") from error
    if not isinstance(chunk, dict):
        raise BackendBroken("The backend's answer is no chat completion.")
    return chunk  # type: ignore[return-value]


def _is_whole(start: bytes, response: httpx.Response) -> bool:
    """Return whether a body that starts so is one JSON object, whatever it is called."""
    kind: str = response.headers.get("content-type", "")
    is_event = start.startswith((b"data:", b":", b"event:", b"id:", b"retry:"))
    return start.startswith(b"{") or (kind.startswith("application/json") and not is_event)


async def _refusal(response: httpx.Response) -> BackendRefused:
    body = await _read_bounded(response, _LARGEST_WHOLE_ANSWER)
    kept = [
        (name, value)
        for name, value in end_to_end(response.headers.raw)
        if name not in (b"content-length", b"date", b"server")
    ]
    return BackendRefused(response.status_code, kept, body)


async def _read_bounded(response: httpx.Response, limit: int) -> bytes:
    try:
        return await _gather(b"", aiter(response.stream), limit)  # type: ignore[arg-type]
    except httpx.TransportError as error:
        raise map_transport_error(error, answering=True) from error


async def _gather(first: bytes, stream: AsyncIterator[bytes], limit: int) -> bytes:
    parts, size = [first], len(first)
    async for data in stream:
        size += len(data)
        if size > limit:
            raise BackendBroken("The backend's answer is too large.")
        parts.append(data)
    return b"".join(parts)
