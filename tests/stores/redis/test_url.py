"""The URL of a Redis."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.stores.redis.url import RedisUrl, parse


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://cache", RedisUrl("server", (("cache", 6379),))),
        ("redis://10.0.0.1:7000/3", RedisUrl("server", (("10.0.0.1", 7000),), db=3)),
        ("redis://cache/", RedisUrl("server", (("cache", 6379),))),
        ("rediss://[::1]:7000", RedisUrl("server", (("::1", 7000),), tls=True)),
        (
            "redis://ann:p%40ss%2Fword@cache",
            RedisUrl("server", (("cache", 6379),), username="ann", password="p@ss/word"),
        ),
        ("redis://:secret@cache", RedisUrl("server", (("cache", 6379),), password="secret")),
        ("unix:///run/redis.sock", RedisUrl("unix", socket="/run/redis.sock")),
        (
            "unix://:secret@/run/redis.sock?db=2",
            RedisUrl("unix", socket="/run/redis.sock", db=2, password="secret"),
        ),
        (
            "redis+sentinel://ann:secret@s1,s2:5000/main/1",
            RedisUrl(
                "sentinel",
                (("s1", 26379), ("s2", 5000)),
                username="ann",
                password="secret",
                db=1,
                service="main",
            ),
        ),
        ("redis+sentinel://s1/main", RedisUrl("sentinel", (("s1", 26379),), service="main")),
        (
            "rediss+cluster://c1:7000,c2",
            RedisUrl("cluster", (("c1", 7000), ("c2", 6379)), tls=True),
        ),
    ],
)
def test_what_a_url_says(url: str, meant: RedisUrl) -> None:
    assert parse(url) == meant


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cache:6379",
        "http://cache",
        "redis://",
        "redis:///0",
        "redis://a,b",
        "redis://cache:0",
        "redis://cache:70000",
        "redis://cache:port",
        "redis://cache/first",
        "redis://cache?db=1",
        "redis://user:hidden/word@cache",
        "redis://user:hidden@word@ca che",
        "redis://[::1",
        "unix://run/redis.sock",
        "unix:///run/redis.sock?db=one",
        "redis+sentinel://hidden:hidden@s1",
        "redis+sentinel://s1/main/hidden",
        "redis+cluster://c1/1",
        "redis+cluster://c1,,c2",
    ],
)
def test_a_wrong_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(url)
    told = str(refused.value)
    assert "Redis URL" in told or "URL" in told
    assert "\n" not in told
    assert "hidden" not in told
    assert refused.value.__cause__ is None


@given(st.text(max_size=30), st.sampled_from(["redis", "redis+sentinel", "redis+cluster", "unix"]))
def test_any_text_is_a_url_or_refused(text: str, scheme: str) -> None:
    with suppress(ValueError):
        assert parse(f"{scheme}://{text}").kind


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(parse("redis://ann:secret@cache"))
