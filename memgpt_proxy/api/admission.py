"""Admission: whose a request is, and whether its API key has any left.

Nothing is read or stored for a request that is not let in. A key's limits hold for all of its
users together.
"""

from __future__ import annotations

from math import ceil

from starlette.types import Message, Send

from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import RateLimited
from memgpt_proxy.stores.limits import Level, Limiter, Rates, Standing, milliseconds
from memgpt_proxy.telemetry import Telemetry

_SHORT = {"requests": "RPM", "tokens": "TPM"}


class Admitted:
    """A request that was let in, without limits.

    Attributes:
        key: Its API key; empty for an anonymous one.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key

    def answering(self, send: Send) -> Send:
        """Return what sends the answer to it."""
        return send

    async def spend(self, tokens: int) -> None:
        """Its turn has used so many tokens."""


class _Limited(Admitted):
    """One whose key has limits."""

    def __init__(self, key: bytes, by: LimitedAdmission, standing: Standing) -> None:
        super().__init__(key)
        self._by = by
        self._told = told(standing)

    def answering(self, send: Send) -> Send:
        """Return what sends the answer with our limits, in place of the backend's same ones."""
        ours = {name for name, _ in self._told}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [header for header in message["headers"] if header[0] not in ours]
                message["headers"] = [*others, *self._told]
            await send(message)

        return answer

    async def spend(self, tokens: int) -> None:
        """Count them; what is over its limit, its next requests wait for."""
        await self._by.spend(self.key, tokens)


class Admission:
    """Lets in every request with a key that is accepted."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def admit(self, headers: RawHeaders) -> Admitted:
        """Let a request in.

        Raises:
            Unauthenticated: There is no key, or it is not accepted here.
            RateLimited: The key has used what it may.
        """
        return Admitted(self._authenticator.check(headers))


class LimitedAdmission(Admission):
    """Lets in what the limits of its key allow."""

    def __init__(
        self, authenticator: Authenticator, limiter: Limiter, telemetry: Telemetry
    ) -> None:
        super().__init__(authenticator)
        self._limiter = limiter
        self._telemetry = telemetry

    async def admit(self, headers: RawHeaders) -> Admitted:
        """Let a request in and count it."""
        key = self._authenticator.check(headers)
        own = self._own(key)
        if own == Rates():
            return Admitted(key)
        standing = await self._limiter.admit(self._authenticator.namespace(key, None), own)
        if not standing.admitted:
            raise self._refusal(standing)
        self._telemetry.request_admitted()
        return _Limited(key, self, standing)

    async def spend(self, key: bytes, tokens: int) -> None:
        """Count tokens of a key."""
        if tokens > 0:
            self._telemetry.tokens_spent(tokens)
            namespace = self._authenticator.namespace(key, None)
            await self._limiter.spend(namespace, tokens, self._own(key))

    def _own(self, key: bytes) -> Rates | None:
        """Return the rates of a key that has its own."""
        issued = self._authenticator.issued(key)
        return issued.rates if issued is not None else None

    def _refusal(self, standing: Standing) -> RateLimited:
        name, level = max(_levels(standing), key=lambda named: named[1].wait)
        self._telemetry.request_limited(name)
        wait = level.wait
        message = (
            f"Rate limit reached for this API key on {name} per min ({_SHORT[name]}): "
            f"Limit {level.limit}, Used {ceil(level.used)}, Requested 1. "
            f"Please try again in {duration(wait)}."
        )
        return RateLimited(message, name, max(1, milliseconds(wait)), told(standing))


def told(standing: Standing) -> RawHeaders:
    """Return OpenAI's headers about the limits that there are."""
    return [header for name, level in _levels(standing) for header in _about(name.encode(), level)]


def _about(name: bytes, level: Level) -> RawHeaders:
    return [
        (b"x-ratelimit-limit-" + name, b"%d" % level.limit),
        (b"x-ratelimit-remaining-" + name, b"%d" % level.remaining),
        (b"x-ratelimit-reset-" + name, duration(level.reset).encode()),
    ]


def _levels(standing: Standing) -> list[tuple[str, Level]]:
    named = (("requests", standing.requests), ("tokens", standing.tokens))
    return [(name, level) for name, level in named if level is not None]


def duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: ``12ms``, ``8.64s``, ``6m0s``; rounded up."""
    whole = milliseconds(seconds)
    if whole < 1000:
        return f"{whole}ms"
    minutes, left = divmod(whole, 60_000)
    shown = f"{left / 1000:.3f}".rstrip("0").rstrip(".")
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{head}{shown}s"
