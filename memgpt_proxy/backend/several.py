"""Several backends: which of them a model's requests go to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import httpx

from memgpt_proxy.backend.client import Backend, Route, Timeouts
from memgpt_proxy.backend.guarded import Credentials, Guard, GuardedBackend
from memgpt_proxy.backend.retrying import Retries
from memgpt_proxy.backend.slots import Slots
from memgpt_proxy.backends_file import BackendEntry, BackendsFile
from memgpt_proxy.errors import ModelNotFound
from memgpt_proxy.telemetry.backends import BackendTelemetry

_REMEMBERED_MODELS = 1024
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
"""Seconds, the random pauses between retries."""


class _Faces(NamedTuple):
    """One backend, as it is asked where another can answer in its place, and where none can."""

    replaceable: Backend
    last: Backend


class SeveralBackends:
    """All backends of a file.

    Args:
        transport: What carries requests to them; not closed from here.
        timeouts: Where the file says nothing else.
    """

    def __init__(
        self,
        told: BackendsFile,
        transport: httpx.AsyncBaseTransport,
        timeouts: Timeouts,
        telemetry: BackendTelemetry,
    ) -> None:
        self.told = told
        self.telemetry = telemetry
        self._faces: Mapping[str, _Faces] = {
            entry.name: _faces(entry, transport, timeouts, telemetry) for entry in told.backends
        }
        self.routes = lru_cache(_REMEMBERED_MODELS)(self._routes)

    def backend(self, name: str) -> Backend:
        """Return a backend by its name in the file."""
        return self._faces[name].last

    def _routes(self, model: str) -> Sequence[Route]:
        """Return where ``model`` is, then its fallbacks. Raises ModelNotFound."""
        names = list(self.told.candidates(model))
        return tuple(self._route(name, last=name == names[-1]) for name in names)

    def _route(self, name: str, *, last: bool) -> Route:
        place = self.told.place(name)
        if place is None:
            raise ModelNotFound(name)
        entry, model = place
        faces = self._faces[entry.name]
        backend = faces.last if last else faces.replaceable
        key = f"{entry.name}/{model}"
        return Route(backend, name, model, key, entry.context_window, entry.profile)


def _faces(
    entry: BackendEntry,
    transport: httpx.AsyncBaseTransport,
    timeouts: Timeouts,
    telemetry: BackendTelemetry,
) -> _Faces:
    guard = Guard(entry.name, _slots(entry, telemetry), _retries(entry), telemetry)
    credentials = Credentials(
        entry.key(),
        entry.pass_client_key,
        [(n.lower().encode(), v.get_secret_value().encode()) for n, v in entry.headers.items()],
    )

    def face(*, replaceable: bool) -> Backend:
        return GuardedBackend(
            str(entry.url),
            transport,
            timeouts=_timeouts(entry, timeouts),
            credentials=credentials,
            guard=guard,
            replaceable=replaceable,
        )

    return _Faces(face(replaceable=True), face(replaceable=False))


def _slots(entry: BackendEntry, telemetry: BackendTelemetry) -> Slots | None:
    if entry.max_concurrent is None:
        return None
    return Slots(
        entry.max_concurrent,
        entry.max_waiting,
        entry.wait_seconds,
        lambda count: telemetry.requests_wait(entry.name, count),
    )


def _retries(entry: BackendEntry) -> Retries:
    return Retries(entry.retries + 1, _PAUSE, _LONGEST_PAUSE, entry.retry_seconds)


def _timeouts(entry: BackendEntry, default: Timeouts) -> Timeouts:
    return Timeouts(
        entry.connect_timeout_seconds or default.connect,
        entry.idle_timeout_seconds or default.idle,
        entry.first_byte_timeout_seconds or default.first_byte,
    )
