"""Search results as the functions word them: how many there are, and what they say."""

import re
from dataclasses import dataclass
from datetime import date

_HEAD = re.compile(r"Showing (\d{1,9}) of (\d{1,9}) results \(page (\d{1,9})/(\d{1,9})\)(?::\s*)?")
_DATED = re.compile(r"(?:^|,\s*)\[(\d\d)/(\d\d)/(\d{4})\] \"", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Hit:
    """What was found, with the day it was said; archival passages have none."""

    text: str
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """One page of a search: its hits, the total over all pages, and which page of how many."""

    hits: tuple[Hit, ...] = ()
    total: int = 0
    page: int = 1
    pages: int = 1


def parse(text: str) -> Results:
    """Read a search's result; an error is a page without hits."""
    head = _HEAD.match(text)
    if head is None:
        return Results()
    shown, total, page, pages = (int(number) for number in head.groups())
    body = text[head.end() :].strip()
    hits = (_dated(body) or _undated(body)) if shown else ()
    return Results(hits, total, page, pages)


def _dated(body: str) -> tuple[Hit, ...]:
    starts = list(_DATED.finditer(body))
    if not starts or starts[0].start():
        return ()
    ends = [start.start() for start in starts[1:]] + [len(body)]
    return tuple(
        Hit(_unquoted(body[start.end() : end]), _day(start))
        for start, end in zip(starts, ends, strict=True)
    )


def _day(match: re.Match[str]) -> date | None:
    month, day, year = (int(number) for number in match.groups())
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _undated(body: str) -> tuple[Hit, ...]:
    parts = body.removeprefix('"').removesuffix('"').split('", "')
    return tuple(Hit(part.strip()) for part in parts if part.strip())


def _unquoted(text: str) -> str:
    return text.strip().removesuffix('"')
