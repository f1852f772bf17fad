"""One backend: requests out, chunks in; an answer that comes whole is one chunk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import httpx
import orjson

from memgpt_proxy.backend.headers import (
    RawHeaders,
    about_the_call,
    end_to_end,
    for_a_readable_answer,
    for_a_step,
    forwarded,
    with_authorization,
    without_account,
    without_account_in_words,
    without_client,
)
from memgpt_proxy.backend.http1.exchange import Exchange
from memgpt_proxy.backend.http1.proxies import ProxyFailed
from memgpt_proxy.errors import (
    BackendBroken,
    BackendGaveUp,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    GatewayError,
)
from memgpt_proxy.traits import Profile
from memgpt_proxy.wire.chat import Chunk
from memgpt_proxy.wire.chunks import NoChunk, chunks_of, chunks_of_body, is_done
from memgpt_proxy.wire.sse import EventParser, StreamTooLarge

log = logging.getLogger(__name__)

_JSON = (
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
)
_OF_THE_BODY = frozenset({b"content-length", b"content-encoding"})
_OF_THE_MESSAGE = _OF_THE_BODY | {b"date", b"server"}
_END_SECONDS = 0.1
_REMEMBERED_MODELS = 1024
_GAVE_UP = frozenset({504, 524})
"""What nginx and load balancers say after a minute without a byte, and Cloudflare after two."""
_LARGEST_WHOLE_ANSWER = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the backend may take, in seconds.

    Attributes:
        connect: To be connected to.
        idle: Between two pieces of an answer, or of a request that it takes.
        first_byte: To begin to answer; None is as long as between two pieces.
    """

    connect: float
    idle: float
    first_byte: float | None = None

    def as_extension(self) -> dict[str, float | None]:
        """Return them as a request's extension ``timeout`` tells them to the transport."""
        told = {"connect": self.connect, "read": self.idle, "write": self.idle, "pool": None}
        return told if self.first_byte is None else {**told, "first_byte": self.first_byte}


@dataclass(frozen=True, slots=True)
class Route:
    """Where the requests for a model go.

    Attributes:
        name: The model, as clients call it.
        model: What it is called there.
        key: What is learned of it is kept by: the same for all of its names.
        window: Its context window in tokens, where the operator has set one for this backend.
        profile: What its backend needs of a request, where the operator has said so.
    """

    backend: Backend
    name: str
    model: str
    key: str
    window: int | None = None
    profile: Profile | None = None


class Backends(Protocol):
    """One backend or several."""

    def routes(self, model: str) -> Sequence[Route]:
        """Return where ``model`` is, and then what may answer in its place.

        Raises:
            ModelNotFound: No backend takes it.
        """
        ...


def available(routes: Sequence[Route]) -> Sequence[Route]:
    """Return those routes whose backends are worth asking; of several, the last always is."""
    if len(routes) == 1:
        return routes
    return [route for route in routes if not route.backend.is_left_out]


class Backend:
    """A server that speaks chat completions.

    Args:
        url: Its base URL, such as ``http://127.0.0.1:11434/v1``.
        transport: What carries the requests; shared, and not closed from here.
        api_key: Its key; None sends each client's own.
        timeouts: Raises BackendTimeout where one of them is exceeded.
        name: What the operator calls it; its URL by default.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport,
        *,
        api_key: str | None,
        timeouts: Timeouts,
        name: str = "",
    ) -> None:
        self.url = url.rstrip("/")
        self.name = name or self.url
        self._transport = transport
        self._api_key = api_key
        self._completions = httpx.URL(f"{self.url}/chat/completions")
        self.server = _server(self._completions)
        """Its host and port, as spans name them."""
        self._extensions = {"timeout": timeouts.as_extension()}
        self.only_streams = timeouts.first_byte is not None
        """Whether it is to stream all answers: a whole one begins when it is done."""
        self._away = False
        self.routes = lru_cache(_REMEMBERED_MODELS)(self._routes)

    @property
    def is_left_out(self) -> bool:
        """Whether there is no use in asking it now."""
        return False

    @property
    def is_on_clients_account(self) -> bool:
        """Whether it is each client's own key that it is shown."""
        return self._api_key is None

    def _routes(self, model: str) -> Sequence[Route]:
        """Return where ``model`` is: here, under the same name."""
        return (Route(self, model, model, model),)

    @asynccontextmanager
    async def stream(self, body: bytes, headers: RawHeaders) -> AsyncIterator[ChunkStream]:
        """Ask for a chat completion and give its chunks as they come.

        Args:
            body: The request, as JSON; with ``"stream": false`` the answer is one chunk.
            headers: The client's; what belongs to a step goes along.

        Raises:
            BackendRefused: It answered with another status than 200.
            BackendUnreachable, BackendTimeout, BackendBroken: It did not answer properly.
        """
        request = self._request("POST", self._completions, self._step_headers(headers), body)
        response = await self.send(request)
        try:
            await _check_answer(response, body)
            yield ChunkStream(response)
        finally:
            await response.aclose()

    @asynccontextmanager
    async def exchange(
        self, request: httpx.Request, *, repeatable: bool = False
    ) -> AsyncIterator[httpx.Response]:
        """Send a request as it is and give its response, the body still to be read.

        Args:
            repeatable: To be asked twice does no harm; nothing is made or stored.

        Raises:
            BackendUnreachable, BackendTimeout: It did not answer.
        """
        response = await self.send(request)
        try:
            yield response
        finally:
            await response.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request as it is; return when the response's head is there.

        That names no account but the client's own; nor do the words of an error.
        """
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            if not isinstance(error, httpx.PoolTimeout):  # that is our own doing
                self._tell_away(error)
            raise map_transport_error(error) from error
        if self._away:
            self._away = False
            log.info("%s answers again", self.name)
        if not self.is_on_clients_account:
            return await _anonymous(response)
        return response

    def _tell_away(self, error: httpx.TransportError) -> None:
        """Tell the operator that it does not answer, once until it does."""
        if not self._away:
            self._away = True
            log.warning("%s does not answer: %s", self.name, str(error) or type(error).__name__)

    async def post(self, target: str, body: bytes) -> bytes:
        """Ask for something on the gateway's own account; return the whole answer.

        Args:
            target: Path below the base URL, such as ``/embeddings``.
            body: JSON.

        Raises:
            BackendRefused, BackendUnreachable, BackendTimeout, BackendBroken: As ``stream``.
        """
        headers = self._authorized(list(_JSON))
        response = await self.send(
            self._request("POST", httpx.URL(self.url + target), headers, body)
        )
        try:
            await _check_status(response)
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
        shown = self._authorized(forwarded(headers))
        if not self.is_on_clients_account:  # errors are read
            shown = for_a_readable_answer(shown)
        return self._request(method, url, shown, body)

    def _authorized(self, headers: RawHeaders) -> RawHeaders:
        """Return a request's headers with the key that the backend is to see."""
        if self._api_key is None:
            return headers
        return with_authorization(without_client(headers), self._api_key)

    def _request(
        self, method: str, url: httpx.URL, headers: RawHeaders, body: httpx.AsyncByteStream | bytes
    ) -> httpx.Request:
        stream = httpx.ByteStream(body) if isinstance(body, bytes) else body
        return httpx.Request(
            method, url, headers=headers, stream=stream, extensions=self._extensions
        )

    def _step_headers(self, headers: RawHeaders) -> RawHeaders:
        return [
            *self._authorized(for_a_step(headers)),
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
        self._begun: tuple[list[Chunk], AsyncIterator[list[Chunk]]] | None = None

    @property
    def headers(self) -> RawHeaders:
        """The response's headers about the call: request id, rate limits."""
        return about_the_call(self._response.headers.raw)

    def __aiter__(self) -> AsyncIterator[list[Chunk]]:
        """Yield chunks until the backend is done or closes.

        Raises:
            BackendBroken: The stream broke off or is none.
            BackendTimeout: It was silent for too long.
        """
        return self._read() if self._begun is None else self._rest(*self._begun)

    async def begin(self) -> Sequence[Chunk]:
        """Wait for the first chunks and return them; iteration gives them all the same.

        Raises as iteration does.
        """
        reading = self._read()
        first: list[Chunk] = await anext(reading, [])
        self._begun = (first, reading)
        return first

    async def _rest(
        self, first: list[Chunk], reading: AsyncIterator[list[Chunk]]
    ) -> AsyncIterator[list[Chunk]]:
        if first:
            yield first
        async for chunks in reading:
            yield chunks

    async def _read(self) -> AsyncIterator[list[Chunk]]:
        with _mapped():
            stream = _decoded(self._response)
            begun = False
            async for data in stream:
                if not begun and (start := data.lstrip()):
                    if _is_whole(start, self._response):
                        yield await self._whole(data, stream)
                        return
                    begun = True
                if chunks := self._chunks(self._parser.feed(data)):
                    yield chunks
                if self.done:
                    await self._read_end(stream)
                    return
            if chunks := self._chunks(self._parser.close()):
                yield chunks

    def _chunks(self, events: Iterable[bytes]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for event in events:
            if is_done(event):
                self.done = True
            elif not self.done:
                chunks += chunks_of(event)
        return chunks

    async def _read_end(self, stream: AsyncIterator[bytes]) -> None:
        """Read what follows ``[DONE]``: just the end, after which the connection is kept.

        It has mostly come along. A backend that does not end its response is not waited for.
        """
        if isinstance(self._response.stream, Exchange) and self._response.stream.ended:
            return
        with suppress(TimeoutError, httpx.TransportError):
            async with asyncio.timeout(_END_SECONDS):
                async for _ in stream:
                    pass

    async def _whole(self, first: bytes, stream: AsyncIterator[bytes]) -> list[Chunk]:
        chunks = chunks_of_body(await _gather(first, stream, _LARGEST_WHOLE_ANSWER))
        self.done = len(chunks) == 1
        return chunks


@contextmanager
def _mapped() -> Iterator[None]:
    """Tell of what goes wrong in reading an answer as it concerns the client."""
    try:
        yield
    except httpx.DecodingError as error:
        raise BackendBroken("The backend's answer cannot be decompressed.") from error
    except httpx.TransportError as error:
        raise map_transport_error(error, answering=True) from error
    except StreamTooLarge as error:
        raise BackendBroken("The backend sent an event that is too large.") from error
    except NoChunk as error:
        raise BackendBroken(f"The backend's answer is {error}.") from error


def map_transport_error(error: httpx.TransportError, *, answering: bool = False) -> GatewayError:
    """Return what a transport error means to the client.

    Args:
        answering: The response had begun.
    """
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return BackendTimeout("The backend could not be connected to in time.")
        case httpx.TimeoutException() if answering:
            return BackendTimeout("The backend was silent for too long within its answer.")
        case httpx.TimeoutException():
            return BackendTimeout("The backend was silent for too long before its answer.")
        case ProxyFailed():
            refuses = f"refuses ({error.status})" if error.status else "does not answer"
            return BackendUnreachable(f"The proxy on the way to the backend {refuses}.")
        case httpx.ConnectError() | httpx.UnsupportedProtocol():
            return BackendUnreachable("The backend cannot be reached.")
        case _ if answering:
            return BackendBroken("The backend's answer broke off.")
        case _:
            return BackendUnreachable("The backend closed the connection without an answer.")


async def _anonymous(response: httpx.Response) -> httpx.Response:
    """Return a response without what names the account that the call was on."""
    headers = without_account(response.headers.raw)
    if not response.is_error:
        if len(headers) < len(response.headers.raw):
            response.headers = httpx.Headers(headers)
        return response
    try:
        body = await _read_bounded(response, _LARGEST_WHOLE_ANSWER)
    finally:
        await response.aclose()
    kept = [(n, v) for n, v in end_to_end(headers) if n not in _OF_THE_BODY]
    told = without_account_in_words(body)
    return httpx.Response(response.status_code, headers=kept, content=told)


def _server(url: httpx.URL) -> dict[str, str | int]:
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"server.address": url.host, "server.port": port}


def _is_whole(start: bytes, response: httpx.Response) -> bool:
    """Return whether a body that starts so is one JSON object, whatever it is called."""
    kind: str = response.headers.get("content-type", "")
    is_event = start.startswith((b"data:", b":", b"event:", b"id:", b"retry:"))
    return start.startswith(b"{") or (kind.startswith("application/json") and not is_event)


def _decoded(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return a response's body as it comes: some compress it although they are asked not to."""
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    return aiter(response.stream)  # type: ignore[arg-type]


async def _check_status(response: httpx.Response) -> None:
    """Raise BackendRefused for what is no success, BackendBroken for what is no answer at all."""
    if response.is_success:
        return
    if response.is_error:
        raise await refusal(response)
    raise BackendBroken(f"The backend answered with status {response.status_code}.")


async def _check_answer(response: httpx.Response, asked: bytes) -> None:
    """Check the status of what answers a request for a completion. Raises as _check_status."""
    try:
        await _check_status(response)
    except BackendRefused as error:
        if error.status in _GAVE_UP and not orjson.loads(asked).get("stream"):
            raise BackendGaveUp(error.status, error.headers, error.body()) from error
        raise


async def refusal(response: httpx.Response) -> BackendRefused:
    """Return an answer that is an error as the error that hands it on."""
    body = await _read_bounded(response, _LARGEST_WHOLE_ANSWER)
    kept = [
        (name, value)
        for name, value in end_to_end(response.headers.raw)
        if name not in _OF_THE_MESSAGE
    ]
    return BackendRefused(response.status_code, kept, body)


async def _read_bounded(response: httpx.Response, limit: int) -> bytes:
    with _mapped():
        return await _gather(b"", _decoded(response), limit)


async def _gather(first: bytes, stream: AsyncIterator[bytes], limit: int) -> bytes:
    parts, size = [first], len(first)
    async for data in stream:
        size += len(data)
        if size > limit:
            raise BackendBroken("The backend's answer is too large.")
        parts.append(data)
    return b"".join(parts)
