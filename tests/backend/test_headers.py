"""Which headers go on."""

from __future__ import annotations

import pytest

from memgpt_proxy.backend.headers import (
    about_the_call,
    end_to_end,
    for_a_step,
    forwarded,
    with_authorization,
)

KEY = (b"authorization", b"Bearer client")


@pytest.mark.parametrize(
    "name", [b"Connection", b"Keep-Alive", b"TE", b"Transfer-Encoding", b"Upgrade", b"Trailer"]
)
def test_what_belongs_to_one_connection_stays_behind(name: bytes) -> None:
    assert end_to_end([(name, b"x"), (b"X-Kept", b"y")]) == [(b"x-kept", b"y")]
    assert for_a_step([(name.lower(), b"x"), KEY]) == [KEY]


def test_a_step_takes_along_what_is_not_about_the_body() -> None:
    kept = [KEY, (b"openai-organization", b"o"), (b"user-agent", b"u"), (b"x-custom", b"c")]
    dropped = [
        (b"host", b"gateway"),
        (b"content-length", b"3"),
        (b"content-type", b"application/json"),
        (b"content-encoding", b"gzip"),
        (b"accept-encoding", b"gzip"),
        (b"idempotency-key", b"once"),
        (b"x-memgpt-memory", b"off"),
    ]
    assert for_a_step([*dropped, *kept]) == kept


def test_a_forwarded_request_keeps_all_but_what_is_the_gateways() -> None:
    kept = [KEY, (b"content-type", b"application/json"), (b"content-length", b"3")]
    dropped = [(b"Host", b"gateway"), (b"X-MemGPT-Memory", b"off"), (b"connection", b"close")]
    assert forwarded([*dropped, *kept]) == kept


def test_what_a_backend_says_of_the_call() -> None:
    said = [
        (b"X-Request-Id", b"r"),
        (b"x-ratelimit-remaining-tokens", b"9"),
        (b"openai-processing-ms", b"3"),
        (b"Retry-After", b"1"),
        (b"content-type", b"text/event-stream"),
        (b"set-cookie", b"c"),
    ]
    assert about_the_call(said) == [(name.lower(), value) for name, value in said[:4]]


def test_the_backends_own_key_stands_in_for_the_clients() -> None:
    assert with_authorization([KEY], None) == [KEY]
    assert with_authorization([KEY], "own") == [(b"authorization", b"Bearer own")]
    assert with_authorization([], "own") == [(b"authorization", b"Bearer own")]
