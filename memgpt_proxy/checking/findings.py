"""What checks find, and carrying them out: all at once, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

SECONDS = 8.0
"""Time that one check has."""

MOST_CHARACTERS = 240
"""Characters of what somebody else says, such as an error."""


class Level(StrEnum):
    """How bad it is: a failure keeps the gateway from doing what it is set to do."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says of one part, in one line, with what to do about it."""

    level: Level
    part: str
    said: str

    def __str__(self) -> str:
        return f"{self.level:<5} {self.part:<16} {self.said}"


def ok(part: str, said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, part, said)


def warn(part: str, said: str) -> Finding:
    """It works, and may not always."""
    return Finding(Level.WARN, part, said)


def fail(part: str, said: str) -> Finding:
    """It does not work."""
    return Finding(Level.FAIL, part, said)


def told(error: Exception) -> str:
    """Return what an error says, in one line of bounded length."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= MOST_CHARACTERS else f"{said[:MOST_CHARACTERS]}…"


@dataclass(frozen=True, slots=True)
class Check:
    """A look at one part; ``look`` raises nothing."""

    part: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


async def carry_out(checks: Iterable[Check], seconds: float = SECONDS) -> list[Finding]:
    """Carry out all checks at once; return what they find, in their order."""

    async def looked(check: Check) -> Sequence[Finding]:
        try:
            async with asyncio.timeout(seconds):
                return await check.look()
        except TimeoutError:
            return [fail(check.part, f"no answer within {seconds:g} seconds")]

    found = await asyncio.gather(*map(looked, checks))
    return [finding for findings in found for finding in findings]


def milliseconds(seconds: float) -> str:
    """Return a duration as it is told."""
    return f"{seconds * 1000:.1f} ms"
