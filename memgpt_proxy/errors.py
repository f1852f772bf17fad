"""What can go wrong on the way to a reply, as the client sees it.

::

    GatewayError              has a status and OpenAI's error body
    ├── InvalidRequest        400  the client's mistake; names the parameter
    │   ├── UnknownReply      400  there is no such reply to go on from
    │   └── NotFound          404  what was asked for by its id is not there
    ├── MemoryNotEmpty        409  an import would mix with what is there
    ├── WorkingContextChanged 409  an edit was made against another version
    ├── Unauthenticated       401  no key, or one that is not accepted here
    ├── OriginNotAllowed      403  a page of an origin that may not use the gateway
    ├── HostNotAllowed        403  a name that may not mean this machine
    ├── RequestTimeout        408  its body did not keep coming
    ├── RequestTooLarge       413
    ├── UnsupportedEncoding   415  its body is compressed
    ├── RateLimited           429  the key has used what it may in a minute
    ├── NoReply               502  the model never came to a reply
    ├── BackendUnreachable    502  no answer at all
    ├── BackendBroken         502  an answer that broke off or was none
    │   └── ErrorInStream     502  an error told in place of an answer
    ├── BackendTimeout        504
    ├── BackendBusy           503  no place at the backend, or it is left out for now
    ├── ModelNotFound         404  no backend takes the model
    ├── MemoryUnreadable      503  what was asked of memory itself cannot be read now
    ├── MemoryNotImported     503  not all of an export is stored, or nothing; to be repeated
    ├── MemoryNotWritten      503  not all of an edit or a note is stored; to be repeated
    ├── MemoryNotErased       503  not all of a memory is erased, or none; to be repeated
    ├── TooManyListeners      503  live events have no place for another
    ├── Stopping              503  the gateway is being stopped
    ├── MemoryAway            503  memory cannot be read, and no answer is wanted without it
    └── BackendRefused        the backend's own status, body and headers

Every border maps what it catches to one of these, once; ``body`` renders them all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import orjson

log = logging.getLogger(__name__)

_SERVER_ERRORS = 500

ABOUT_THE_KEY = frozenset({401, 403})
"""What a server answers to who shows no key, or one that it does not take."""

ABOUT_THE_TEXT = frozenset({400, 413, 422})
"""What an embedding server that is well answers to a text which its model does not take."""

Headers = Sequence[tuple[bytes, bytes]]


class GatewayError(Exception):
    """An error that the client is told about, in OpenAI's shape.

    Args:
        message: One sentence for a person; never holds a key or a prompt.
        param: The request's field that is at fault, as OpenAI names it.
        code: A short word for programs.
    """

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    @property
    def headers(self) -> Headers:
        """Headers that belong to the answer, besides its content type and length."""
        return ()

    def body(self) -> bytes:
        """Return the JSON body: OpenAI's ``{"error": {message, type, param, code}}``."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return orjson.dumps({"error": error})


class InvalidRequest(GatewayError):
    """The request cannot be understood or is not allowed."""

    status = 400
    type = "invalid_request_error"


class UnknownReply(InvalidRequest):
    """The reply that the client wants to go on from is not there."""

    code = "reply_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such reply to go on from.")


class UnknownCall(InvalidRequest):
    """The result of a tool comes that nobody has called.

    Attributes:
        call: The id by which it says what it answers.
    """

    def __init__(self, call: str) -> None:
        super().__init__(
            f"Invalid parameter: 'tool_call_id' of '{call}' not found in 'tool_calls' of previous "
            "message.",
            param="messages",
        )
        self.call = call


class NotFound(InvalidRequest):
    """What was asked for by its id is not there, or is somebody else's."""

    status = 404


class Unauthenticated(GatewayError):
    """No API key, or one that is not accepted here."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class OriginNotAllowed(GatewayError):
    """A page in a browser asks, of an origin that may not use the gateway."""

    status = 403
    type = "invalid_request_error"
    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Pages of the origin {origin!r} may not use this gateway: its cors_origins does not "
            "name it."
        )


class HostNotAllowed(GatewayError):
    """The gateway is asked by a name that a page of the internet may have led here."""

    status = 403
    type = "invalid_request_error"
    code = "host_not_allowed"

    def __init__(self, host: str) -> None:
        super().__init__(
            "This gateway listens to its own machine only and takes any key, so it does not answer "
            f"to the host {host!r}: any page of the internet could lead a browser here by such a "
            "name. If a proxy of yours passes that host on, set accepted_keys, or name it in "
            "cors_origins."
        )


class RequestTimeout(GatewayError):
    """The request's body did not keep coming."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("The request's body did not come in time.")

    @property
    def headers(self) -> Headers:
        """The connection is of no use any more: the rest of the body may come yet."""
        return [(b"connection", b"close")]


class RequestTooLarge(GatewayError):
    """The body is larger than the gateway takes."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedEncoding(GatewayError):
    """The body is compressed."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_encoding"


class RateLimited(GatewayError):
    """The API key has used what it may.

    Args:
        limit: What it has used up, ``requests`` or ``tokens``; OpenAI tells it as the type.
        wait: Milliseconds until the next request is let in, if no other comes before it.
        told: Headers about the key's limits.
    """

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, limit: str, wait: int, told: Headers) -> None:
        super().__init__(message)
        self.type = limit
        self._wait = wait
        self._told = told

    @property
    def headers(self) -> Headers:
        """When to come again, in seconds and in milliseconds, and the key's limits."""
        seconds = -(-self._wait // 1000)
        return [
            (b"retry-after", b"%d" % seconds),
            (b"retry-after-ms", b"%d" % self._wait),
            *self._told,
        ]


class NoReply(GatewayError):
    """The model ended its turn without a word to the user."""

    status = 502
    code = "no_reply"


class BackendUnreachable(GatewayError):
    """The backend gave no answer at all."""

    status = 502
    code = "backend_unreachable"


class BackendBroken(GatewayError):
    """The backend's answer broke off, or was not a chat completion."""

    status = 502
    code = "backend_broken"


class ErrorInStream(BackendBroken):
    """The backend accepted the request and then told of an error, before any word of an answer."""

    def __init__(self, message: str, error: Mapping[str, object]) -> None:
        super().__init__(message)
        self.error = error


class BackendTimeout(GatewayError):
    """The backend took too long to connect, to begin or to go on."""

    status = 504
    code = "backend_timeout"


class BackendBusy(GatewayError):
    """The backend has no place for the request, or is left out since it keeps failing.

    Args:
        wait: Seconds after which to try again.
    """

    status = 503
    code = "backend_busy"

    def __init__(self, message: str, wait: int) -> None:
        super().__init__(message)
        self._wait = wait

    @property
    def headers(self) -> Headers:
        """When to try again."""
        return [(b"retry-after", b"%d" % self._wait)]


class ModelNotFound(GatewayError):
    """No backend takes the model."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model {model!r} does not exist here.")


class MemoryUnreadable(GatewayError):
    """What was asked of memory itself cannot be read now."""

    status = 503
    code = "memory_away"


class MemoryNotErased(GatewayError):
    """A memory is not erased, or a part of it only: the request is to be repeated."""

    status = 503
    code = "memory_not_erased"

    @property
    def headers(self) -> Headers:
        """When to try again."""
        return [(b"retry-after", b"5")]


class MemoryNotImported(GatewayError):
    """An export is not stored, or a part of it only: the request is to be repeated."""

    status = 503
    code = "memory_not_imported"

    @property
    def headers(self) -> Headers:
        """When to try again."""
        return [(b"retry-after", b"5")]


class MemoryNotEmpty(GatewayError):
    """The memory that an export is to go into has something of its own."""

    status = 409
    type = "invalid_request_error"
    code = "memory_not_empty"


class MemoryNotWritten(GatewayError):
    """What was to be written to memory is not stored, or a part of it only."""

    status = 503
    code = "memory_not_written"

    @property
    def headers(self) -> Headers:
        """When to try again."""
        return [(b"retry-after", b"5")]


class WorkingContextChanged(GatewayError):
    """The working context is another by now than the caller has seen."""

    status = 409
    type = "invalid_request_error"
    code = "working_context_changed"

    def __init__(self) -> None:
        super().__init__(
            "The working context was changed meanwhile. Read it again, and edit what it is now."
        )


class TooManyListeners(GatewayError):
    """There is no place for another listener to live events."""

    status = 503
    code = "too_many_listeners"


class Stopping(GatewayError):
    """The gateway is being stopped and does not wait for this request."""

    status = 503
    code = "stopping"

    def __init__(self) -> None:
        super().__init__("The gateway is being stopped.")

    @property
    def headers(self) -> Headers:
        """Try again at once, by another connection: it leads to another replica."""
        return [(b"retry-after", b"1"), (b"connection", b"close")]


class MemoryAway(GatewayError):
    """Memory cannot be read now, and the operator wants no answer without it."""

    status = 503
    code = "memory_unavailable"

    def __init__(self) -> None:
        super().__init__("Memory cannot be reached now. Try again in a few seconds.")

    @property
    def headers(self) -> Headers:
        """When to try again."""
        return [(b"retry-after", b"5")]


class BackendRefused(GatewayError):
    """The backend answered with an error of its own, which goes to the client as it is."""

    code = "backend_refused"

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        super().__init__(f"The backend answered with status {status}.")
        self.status = status
        self._headers = headers
        self._body = body

    @property
    def headers(self) -> Headers:
        """The backend's headers, end to end ones only."""
        return self._headers

    def body(self) -> bytes:
        """Return the backend's body, byte for byte."""
        return self._body


class BackendGaveUp(BackendRefused):
    """What stands before the backend did not wait until a whole answer was done."""


def log_failure(error: GatewayError) -> None:
    """Tell the operator of an error that is not the client's own, with what caused it.

    Messages of a backend stay out of the log: they may repeat a prompt.
    """
    level = logging.WARNING if error.status >= _SERVER_ERRORS else logging.DEBUG
    cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
    log.log(level, "answered %d %s%s", error.status, error.code, cause)
