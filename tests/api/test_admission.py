"""Admission: what a key is told of its limits, in OpenAI's words."""

from __future__ import annotations

import json

import pytest
from starlette.types import Message

from memgpt_proxy.api.admission import Admission, LimitedAdmission, duration
from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import RateLimited, Unauthenticated
from memgpt_proxy.stores.limits import LocalLimiter, Rates
from memgpt_proxy.telemetry import Telemetry

AUTHENTICATOR = Authenticator(bytes(32), (), anonymous=False)


def key(name: str) -> RawHeaders:
    return [(b"authorization", f"Bearer {name}".encode())]


def limited(rates: Rates) -> LimitedAdmission:
    return LimitedAdmission(AUTHENTICATOR, LocalLimiter(rates, lambda: 0.0), Telemetry())


async def answered(admission: Admission, headers: RawHeaders) -> RawHeaders:
    """The headers that a client gets of an answer with these headers."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    answer = (await admission.admit(key("sam"))).answering(send)
    await answer({"type": "http.response.start", "status": 200, "headers": headers})
    await answer({"type": "http.response.body", "body": b"x"})
    assert sent[1] == {"type": "http.response.body", "body": b"x"}
    told: RawHeaders = sent[0]["headers"]
    return told


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0ms"),
        (0.0119, "12ms"),
        (0.0121, "13ms"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (61.5, "1m1.5s"),
        (3600, "1h0m0s"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


async def test_without_limits_nothing_is_told() -> None:
    backends = [(b"x-ratelimit-limit-requests", b"500")]
    assert await answered(Admission(AUTHENTICATOR), backends) == backends


async def test_an_answer_tells_both_limits() -> None:
    admission = limited(Rates(requests=60, tokens=6000))
    await (await admission.admit(key("sam"))).spend(60)
    assert await answered(admission, [(b"content-type", b"x")]) == [
        (b"content-type", b"x"),
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"58"),
        (b"x-ratelimit-reset-requests", b"2s"),
        (b"x-ratelimit-limit-tokens", b"6000"),
        (b"x-ratelimit-remaining-tokens", b"5940"),
        (b"x-ratelimit-reset-tokens", b"600ms"),
    ]


async def test_what_the_backend_says_of_another_limit_stays() -> None:
    backends = [
        (b"x-ratelimit-limit-requests", b"500"),
        (b"x-ratelimit-remaining-requests", b"499"),
        (b"x-ratelimit-limit-tokens", b"7000"),
    ]
    assert await answered(limited(Rates(requests=60)), backends) == [
        (b"x-ratelimit-limit-tokens", b"7000"),
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1s"),
    ]


async def test_a_refusal_is_openais() -> None:
    admission = limited(Rates(requests=3))
    for _ in range(3):
        await admission.admit(key("sam"))
    with pytest.raises(RateLimited) as refused:
        await admission.admit(key("sam"))
    assert refused.value.status == 429
    assert json.loads(refused.value.body()) == {
        "error": {
            "message": "Rate limit reached for this API key on requests per min (RPM): Limit 3, "
            "Used 3, Requested 1. Please try again in 20s.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert refused.value.headers == [
        (b"retry-after", b"20"),
        (b"retry-after-ms", b"20000"),
        (b"x-ratelimit-limit-requests", b"3"),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"1m0s"),
    ]


async def test_of_two_limits_the_one_that_takes_longer_is_named() -> None:
    admission = limited(Rates(requests=60, tokens=60))
    await (await admission.admit(key("sam"))).spend(90)
    with pytest.raises(RateLimited) as refused:
        await admission.admit(key("sam"))
    assert refused.value.type == "tokens"
    assert (b"retry-after-ms", b"31000") in refused.value.headers


async def test_a_key_that_is_not_accepted_counts_for_nothing() -> None:
    accepted = Authenticator(bytes(32), ["sam"], anonymous=False)
    limiter = LocalLimiter(Rates(requests=1))
    admission = LimitedAdmission(accepted, limiter, Telemetry())
    with pytest.raises(Unauthenticated):
        await admission.admit(key("eve"))
    assert len(limiter) == 0
