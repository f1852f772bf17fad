"""Spans: what a request, a turn, a step, a call took, and which of them belongs to which.

Where they go is another module's affair (``telemetry.otlp``), imported only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

Headers = Sequence[tuple[bytes, bytes]]
Attributes = Mapping[str, str | int | float | bool | Sequence[str]]


class Kind(Enum):
    """On which side of a call a span stands."""

    SERVER = auto()
    CLIENT = auto()
    INTERNAL = auto()


class Span(Protocol):
    """One that has begun."""

    def add(self, attributes: Attributes) -> None:
        """Tell more of it."""
        ...

    def end(self, error: str = "") -> None:
        """It is over; ``error`` is a word for what went wrong."""
        ...

    def headers(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return headers of a request that is made within it: W3C's trace context is its own."""
        ...


class Spans(Protocol):
    """Where spans come from."""

    def request(self, name: str, headers: Headers, attributes: Attributes) -> Span:
        """Begin the span of a client's request; it belongs to the client's trace, if there is one.

        Args:
            headers: The request's.
        """
        ...

    def begin(self, name: str, kind: Kind, within: Span, attributes: Attributes) -> Span:
        """Begin a span within another."""
        ...

    def close(self) -> None:
        """Send what is not sent yet, for a few seconds at most. Blocks."""
        ...
