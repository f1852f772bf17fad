"""Requests that are sent again under the same ``Idempotency-Key``."""

from __future__ import annotations

from memgpt_proxy.api.idempotency import IdempotencyKeys
from memgpt_proxy.stores.records import Namespace

ALICE, BOB = Namespace("alice"), Namespace("bob")


def test_the_same_key_with_the_same_body_is_a_retry() -> None:
    keys = IdempotencyKeys()
    assert [keys.repeats(ALICE, b"k", b"{}") for _ in range(3)] == [False, True, True]


def test_another_body_key_or_owner_is_no_retry() -> None:
    keys = IdempotencyKeys()
    asked = [(ALICE, b"k", b"{}"), (ALICE, b"k", b"[]"), (ALICE, b"l", b"[]"), (BOB, b"k", b"[]")]
    assert [keys.repeats(*each) for each in asked] == [False] * 4


def test_old_keys_are_forgotten() -> None:
    keys = IdempotencyKeys()
    for number in range(9000):
        assert not keys.repeats(ALICE, b"%d" % number, b"{}")
    assert not keys.repeats(ALICE, b"0", b"{}")
    assert keys.repeats(ALICE, b"8999", b"{}")
