"""Words for failures, out of a bounded set: what metrics and spans tell of an error."""

from __future__ import annotations

import asyncio

from memgpt_proxy.errors import (
    BackendBroken,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    GatewayError,
    MemoryAway,
    NoReply,
)

OTHER = "_OTHER"
"""OpenTelemetry's word for what has none of its own."""

_STATUSES = frozenset({400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529})
_CODES = frozenset(
    str(kind.code)
    for kind in (BackendUnreachable, BackendBroken, BackendTimeout, NoReply, MemoryAway)
)


def failure(error: BaseException) -> str:
    """Return a word for an error: a status of the backend's, or a code."""
    match error:
        case BackendRefused(status=status):
            return str(status) if status in _STATUSES else OTHER
        case GatewayError():
            return error.code if error.code in _CODES else OTHER
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return OTHER
