"""Retries: what may pass, how long is waited, and when it is given up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from memgpt_proxy.backend.retrying import Retries, may_pass, pause_asked, persist
from memgpt_proxy.errors import (
    BackendBroken,
    BackendBusy,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    ErrorInStream,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
)


def refused(status: int = 503, **headers: str) -> BackendRefused:
    named = [(name.replace("_", "-").encode(), told.encode()) for name, told in headers.items()]
    return BackendRefused(status, named, b"")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        *((refused(status), True) for status in (408, 425, 429, 500, 502, 503, 504, 529)),
        *((refused(status), False) for status in (400, 401, 403, 404, 409, 413, 422, 501)),
        (BackendUnreachable("x"), True),
        (BackendTimeout("x"), True),
        (BackendBroken("x"), True),
        (BackendBusy("x", 1), True),
        (InvalidRequest("x"), False),
        (ModelNotFound("x"), False),
        (ErrorInStream("x", {"code": 502}), True),
        (ErrorInStream("x", {"code": 429}), True),
        (ErrorInStream("x", {"code": 400, "type": "server_error"}), False),
        (ErrorInStream("x", {"type": "overloaded_error"}), True),
        (ErrorInStream("x", {"type": "server_error", "code": None}), True),
        (ErrorInStream("x", {"code": "rate_limit_exceeded"}), True),
        (ErrorInStream("x", {"code": "context_length_exceeded"}), False),
        (ErrorInStream("x", {"type": "invalid_request_error"}), False),
    ],
)
def test_what_may_pass(error: GatewayError, passes: bool) -> None:
    assert may_pass(error) is passes


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry_after": "7"}, 7),
        ({"retry_after": " 1.5 "}, 1.5),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "9", "retry_after_ms": "250"}, 0.25),
        ({"retry_after": "-1"}, 0),
        ({"retry_after": "nan"}, 0),
        ({"retry_after": "soon"}, 0),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_the_pause_that_an_answer_asks_for(headers: dict[str, str], seconds: float) -> None:
    assert pause_asked(refused(503, **headers)) == seconds


def test_a_date_that_an_answer_asks_for() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3590 <= pause_asked(refused(retry_after=until)) <= 3600


@pytest.mark.parametrize(
    ("asked", "attempt", "least", "most"),
    [("", 1, 0, 1), ("", 3, 0, 4), ("", 30, 0, 60), ("7", 1, 7, 7), ("2", 3, 2, 4)],
)
def test_pauses_grow_at_random_to_their_bound(
    asked: str, attempt: int, least: float, most: float
) -> None:
    pauses = Retries(pause=1.0, longest=60.0)
    drawn = [pauses.pause_after(refused(retry_after=asked), attempt) for _ in range(50)]
    assert all(least <= pause <= most for pause in drawn)
    assert len(set(drawn)) > 1 or least == most


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The pauses that were made; none takes any time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return made  # type: ignore[return-value]


class Attempts:
    """Fails with these errors in turn, then succeeds."""

    def __init__(self, *errors: GatewayError) -> None:
        self.errors = list(errors)
        self.made = 0
        self.told = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def retrying(self) -> None:
        self.told += 1

    async def persist(self, **retries: Any) -> str:
        return await persist(self, Retries(**retries), may_pass, self.retrying)


async def test_it_goes_on_until_there_is_an_answer(pauses: list[float]) -> None:
    attempts = Attempts(refused(500), BackendUnreachable("x"))
    assert await attempts.persist(attempts=3) == "answer"
    assert (attempts.made, attempts.told, len(pauses)) == (3, 2, 2)


async def test_the_last_error_is_told(pauses: list[float]) -> None:
    attempts = Attempts(refused(500), refused(502), refused(503))
    with pytest.raises(BackendRefused) as error:
        await attempts.persist(attempts=3)
    assert (error.value.status, attempts.made, len(pauses)) == (503, 3, 2)


@pytest.mark.parametrize("error", [refused(400), refused(404), InvalidRequest("x")])
async def test_what_stays_is_told_at_once(error: GatewayError, pauses: list[float]) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        await attempts.persist(attempts=3)
    assert (attempts.made, pauses) == (1, [])


async def test_a_pause_that_is_too_long_is_not_made(pauses: list[float]) -> None:
    attempts = Attempts(refused(429, retry_after="21"))
    with pytest.raises(BackendRefused) as error:
        await attempts.persist(attempts=3, seconds=20)
    assert dict(error.value.headers)[b"retry-after"] == b"21"
    assert (attempts.made, pauses) == (1, [])


async def test_a_short_pause_is_made_as_asked(pauses: list[float]) -> None:
    attempts = Attempts(refused(429, retry_after="9"))
    assert await attempts.persist(attempts=2, pause=1.0, seconds=20) == "answer"
    assert pauses == [9.0]
