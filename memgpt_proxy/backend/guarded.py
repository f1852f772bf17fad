"""A backend that is one of several: its own key, places, retries and circuit around each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import httpx

from memgpt_proxy.backend.circuit import FIRST_PAUSE, Circuit
from memgpt_proxy.backend.client import Backend, ChunkStream, Timeouts, refusal
from memgpt_proxy.backend.headers import RawHeaders, with_authorization, without_client
from memgpt_proxy.backend.retrying import Retries, may_pass, persist
from memgpt_proxy.backend.slots import Slots
from memgpt_proxy.errors import (
    BackendBroken,
    BackendBusy,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    ErrorInStream,
    GatewayError,
    RequestTimeout,
)
from memgpt_proxy.telemetry.backends import BackendTelemetry
from memgpt_proxy.wire.chat import Chunk

T = TypeVar("T")

_AT_ONCE = (BackendUnreachable, BackendTimeout)
"""Failures after which another backend is asked before the same one is again."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a backend is shown.

    Attributes:
        api_key: Its own key.
        passes_client: The client's keys go to it.
        headers: What is added to each request, in place of the client's of the same name.
    """

    api_key: str | None = None
    passes_client: bool = False
    headers: Sequence[tuple[bytes, bytes]] = ()

    @property
    def are_the_clients(self) -> bool:
        """Whether it is the client alone whom they tell of."""
        return self.passes_client and without_client([*self.headers]) == [*self.headers]

    def shown(self, headers: RawHeaders) -> RawHeaders:
        """Return a request's headers as the backend is to see them."""
        kept = headers if self.passes_client else without_client(headers)
        replaced = {name for name, _ in self.headers}
        others = [header for header in kept if header[0] not in replaced]
        return with_authorization([*others, *self.headers], self.api_key)


class Guard:
    """What the calls of one backend have in common.

    Args:
        name: The backend's.
        slots: Its places; None where there are as many as wanted.
    """

    def __init__(
        self,
        name: str,
        slots: Slots | None,
        retries: Retries,
        telemetry: BackendTelemetry,
        circuit: Circuit | None = None,
    ) -> None:
        self.name = name
        self._slots = slots
        self._retries = retries
        self._telemetry = telemetry
        self._circuit = circuit or Circuit()

    @property
    def is_pausing(self) -> bool:
        """Whether the backend keeps failing, and is not even tried now."""
        return self._circuit.is_pausing

    def place(self) -> AbstractAsyncContextManager[None]:
        """Hold a place at the backend. Raises BackendBusy."""
        return nullcontext() if self._slots is None else self._place(self._slots)

    @asynccontextmanager
    async def _place(self, slots: Slots) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(slots.taken())
            except BackendBusy:
                self._telemetry.was_busy(self.name)
                raise
            yield

    async def persist(
        self, attempt: Callable[[], Awaitable[T]], *, replaceable: bool, repeatable: bool
    ) -> T:
        """Make an attempt, more than once where that may help; raises its last error.

        Args:
            replaceable: Another backend can answer: this one is not waited for.
            repeatable: The request can be sent again.

        Raises:
            BackendBusy: It is left out, since it keeps failing.
        """
        if not self._circuit.admits() and replaceable:
            raise BackendBusy("The backend keeps failing and is left out.", int(FIRST_PAUSE))

        def may_retry(error: GatewayError) -> bool:
            at_once = replaceable and isinstance(error, _AT_ONCE)
            return repeatable and not self._circuit.is_open and may_pass(error) and not at_once

        return await persist(
            lambda: self._watched(attempt),
            self._retries,
            may_retry,
            lambda: self._telemetry.retried(self.name),
        )

    async def _watched(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await attempt()
        except RequestTimeout:  # the client's, which tells nothing of the backend
            raise
        except GatewayError as error:
            self._heard(well=not _is_its_failure(error))
            raise
        self._heard(well=True)
        return result

    def _heard(self, *, well: bool) -> None:
        was_open = self._circuit.is_open
        if well:
            self._circuit.passed()
        else:
            self._circuit.failed()
        if was_open != self._circuit.is_open:
            self._telemetry.left_out(self.name, out=not was_open)


class GuardedBackend(Backend):
    """One backend of several.

    Args:
        replaceable: Another can answer in its place.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport,
        *,
        timeouts: Timeouts,
        credentials: Credentials,
        guard: Guard,
        replaceable: bool,
    ) -> None:
        super().__init__(url, transport, api_key=None, timeouts=timeouts, name=guard.name)
        self._credentials = credentials
        self._guard = guard
        self._replaceable = replaceable

    @asynccontextmanager
    async def stream(self, body: bytes, headers: RawHeaders) -> AsyncIterator[ChunkStream]:
        """Ask for a chat completion, and again until it has begun or there is no use in it.

        Raises:
            BackendBusy: It has no place, or is left out.
            GatewayError: As the backend alone; also where the answer begins with an error.
        """
        ask = super().stream

        async def begun() -> tuple[AsyncExitStack, ChunkStream]:
            async with AsyncExitStack() as held:
                chunks = await held.enter_async_context(ask(body, headers))
                _check_begin(await chunks.begin(), done=chunks.done)
                return held.pop_all(), chunks

        async with self._guard.place():
            held, chunks = await self._persist(begun, repeatable=True)
            async with held:
                yield chunks

    @property
    def is_left_out(self) -> bool:
        """Whether it keeps failing, and another can answer."""
        return self._replaceable and self._guard.is_pausing

    @property
    def is_on_clients_account(self) -> bool:
        """Whether it is each client's own key that it is shown, and nothing of the operator's."""
        return self._credentials.are_the_clients

    @asynccontextmanager
    async def exchange(
        self, request: httpx.Request, *, repeatable: bool = False
    ) -> AsyncIterator[httpx.Response]:
        """Send a request as it is, again where that may help, and give its response.

        Raises:
            BackendRefused: It was refused for what may pass, to the last attempt.
            BackendBusy, BackendUnreachable, BackendTimeout: It got no answer.
        """

        async def answered() -> httpx.Response:
            response = await self.send(request)
            if response.status_code < 400 or not may_pass(_status_of(response)):
                return response
            try:
                raise await refusal(response)
            finally:
                await response.aclose()

        async with self._guard.place():
            response = await self._persist(answered, repeatable=repeatable)
            try:
                yield response
            finally:
                await response.aclose()

    def _authorized(self, headers: RawHeaders) -> RawHeaders:
        return self._credentials.shown(headers)

    async def _persist(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        return await self._guard.persist(
            attempt, replaceable=self._replaceable, repeatable=repeatable
        )


def _check_begin(chunks: Sequence[Chunk], *, done: bool) -> None:
    """Raise the error that an answer begins with, if it may pass, or that it is none."""
    if not chunks and not done:
        raise BackendBroken("The backend's answer broke off.")
    error = chunks[0].get("error") if chunks else None
    if not isinstance(error, dict):
        return
    told = error.get("message")
    failure = ErrorInStream(told if isinstance(told, str) else "The backend failed.", error)
    if may_pass(failure):
        raise failure


def _status_of(response: httpx.Response) -> BackendRefused:
    return BackendRefused(response.status_code, (), b"")


def _is_its_failure(error: GatewayError) -> bool:
    """Return whether an error speaks against the backend as a whole.

    That one key has used up what it may (429) does not.
    """
    if isinstance(error, BackendRefused):
        return error.status >= 500 and may_pass(error)
    return isinstance(error, BackendUnreachable | BackendTimeout | BackendBroken)
