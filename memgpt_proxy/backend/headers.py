"""Which headers go on, and which belong to one connection (RFC 9110, section 7.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

RawHeaders = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# The body that goes to the backend is another one, and a turn takes several requests.
_OF_THE_BODY = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"idempotency-key",
    }
)
_OF_THIS_GATEWAY = (b"x-memgpt-",)
_FOR_THIS_GATEWAY = frozenset({b"host", b"origin"})
"""The backend has another client: which pages may use the gateway is not for it to say."""

# What a backend says about a call, not about its body; worth knowing to any client.
_ABOUT_THE_CALL = frozenset({b"x-request-id", b"retry-after", b"retry-after-ms"})
_ABOUT_THE_CALL_PREFIXES = (b"x-ratelimit-", b"openai-")


# By what a client shows who it is, or who pays.
_OF_THE_CLIENT = frozenset(
    {
        b"api-key",
        b"authorization",
        b"cookie",
        b"openai-organization",
        b"openai-project",
        b"x-api-key",
        b"x-goog-api-key",
    }
)

# By what a backend says on whose account a call was; OpenAI's errors say it in words.
_OF_THE_ACCOUNT = frozenset(
    {b"anthropic-organization-id", b"openai-organization", b"openai-project"}
)
_READABLE = frozenset({b"gzip", b"deflate", b"identity"})
"""Codings of a body that this gateway can read."""
_ACCOUNT_IN_WORDS = re.compile(rb"\b(org-|proj_)[A-Za-z0-9]{6,}")


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return ``headers``, names in lower case, without those of one connection."""
    kept = ((name.lower(), value) for name, value in headers)
    return [(name, value) for name, value in kept if name not in HOP_BY_HOP]


def forwarded(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return what of a client's headers goes with its request where that is sent on as it is."""
    return [
        (name, value)
        for name, value in end_to_end(headers)
        if name not in _FOR_THIS_GATEWAY and not name.startswith(_OF_THIS_GATEWAY)
    ]


def for_a_step(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return what of a client's headers goes with every backend call of its turn."""
    return [
        (name, value)
        for name, value in headers
        if name not in _OF_THE_BODY
        and name not in HOP_BY_HOP
        and name not in _FOR_THIS_GATEWAY
        and not name.startswith(_OF_THIS_GATEWAY)
    ]


def about_the_call(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return request ids and rate limits out of a backend's response headers."""
    kept = ((name.lower(), value) for name, value in headers)
    return [
        (name, value)
        for name, value in kept
        if name in _ABOUT_THE_CALL or name.startswith(_ABOUT_THE_CALL_PREFIXES)
    ]


def with_authorization(headers: RawHeaders, api_key: str | None) -> RawHeaders:
    """Return ``headers`` with the backend's own key in place of the client's, if there is one."""
    if api_key is None:
        return headers
    others = [(name, value) for name, value in headers if name != b"authorization"]
    return [*others, (b"authorization", b"Bearer " + api_key.encode())]


def without_client(headers: RawHeaders) -> RawHeaders:
    """Return ``headers`` without what tells who the client is: keys above all."""
    return [(name, value) for name, value in headers if name not in _OF_THE_CLIENT]


def for_a_readable_answer(headers: RawHeaders) -> RawHeaders:
    """Return a request's headers, which ask for no coding that this gateway cannot read."""
    return [
        (name, _readable(value) if name == b"accept-encoding" else value) for name, value in headers
    ]


def _readable(codings: bytes) -> bytes:
    wanted = [coding.strip() for coding in codings.split(b",")]
    kept = [each for each in wanted if each.partition(b";")[0].strip().lower() in _READABLE]
    return b", ".join(kept) or b"identity"


def without_account(headers: RawHeaders) -> RawHeaders:
    """Return a backend's response headers without those that name who pays for the call."""
    return [(name, value) for name, value in headers if name.lower() not in _OF_THE_ACCOUNT]


def without_account_in_words(error: bytes) -> bytes:
    """Return the body of an error with the names of organisations and projects left out."""
    return _ACCOUNT_IN_WORDS.sub(rb"\1***", error)
