"""Carrying out checks: at once, in order, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from memgpt_proxy.checking.findings import Check, Finding, carry_out, fail, ok, told, warn


def test_a_finding_is_one_line() -> None:
    assert str(ok("Redis", "well")) == "ok    Redis            well"
    assert str(warn("Redis", "so so")) == "warn  Redis            so so"
    assert str(fail("namespace secret", "no")) == "FAIL  namespace secret no"


def test_an_error_is_told_in_one_short_line() -> None:
    assert told(ValueError("one\ntwo")) == "one two"
    assert told(TimeoutError()) == "TimeoutError"
    assert len(told(ValueError("x" * 1000))) < 250


async def test_all_are_carried_out_at_once_and_told_in_order() -> None:
    second_began = asyncio.Event()

    async def first() -> Sequence[Finding]:
        await second_began.wait()
        return [ok("first", "1"), warn("first", "2")]

    async def second() -> Sequence[Finding]:
        second_began.set()
        return [ok("second", "3")]

    found = await carry_out([Check("first", first), Check("second", second)], seconds=20)
    assert [finding.said for finding in found] == ["1", "2", "3"]


async def test_one_that_hangs_is_ended() -> None:
    async def hangs() -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    async def answers() -> Sequence[Finding]:
        return [ok("other", "well")]

    found = await carry_out([Check("this", hangs), Check("other", answers)], seconds=0.05)
    assert found == [fail("this", "no answer within 0.05 seconds"), ok("other", "well")]
