"""Dates in words: `May 3`, `3rd of May 1990`, `yesterday`, `last week`."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_MONTH = "|".join(["Sept", *MONTHS, *(name[:3] for name in MONTHS)])
_YEAR = r"(?:,?\s+(?P<year>\d{4})\b)?"
_NAMED_DAYS = (
    re.compile(
        rf"\b(?P<month>{_MONTH})\.?\s+(?:the\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b{_YEAR}", re.I
    ),
    re.compile(
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month>{_MONTH})\b{_YEAR}", re.I
    ),
)
_ISO_DAY = re.compile(r"\b(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)\b")
_RELATIVE = {"yesterday": -1, "today": 0, "tonight": 0, "this morning": 0, "tomorrow": 1}


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the year, with or without its year; as text `May 3` or `May 3, 1990`."""

    month: int
    day: int
    year: int | None = None

    def __str__(self) -> str:
        named = f"{MONTHS[self.month - 1]} {self.day}"
        return named if self.year is None else f"{named}, {self.year}"


def spoken(day: date) -> str:
    """A date in words, with its year: `February 7, 2026`."""
    return str(Day(day.month, day.day, day.year))


def _month(name: str) -> int:
    return next(n for n, full in enumerate(MONTHS, 1) if full[:3].lower() == name[:3].lower())


def _valid(day: Day) -> bool:
    return _date(day.year or 2000, day.month, day.day) is not None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def named_day(text: str) -> Day | None:
    """The first day that a text names with its month, or None."""
    if iso := _ISO_DAY.search(text):
        day = Day(int(iso["month"]), int(iso["day"]), int(iso["year"]))
        return day if _valid(day) else None
    for pattern in _NAMED_DAYS:
        if match := pattern.search(text):
            year = int(match["year"]) if match["year"] else None
            day = Day(_month(match["month"]), int(match["day"]), year)
            return day if _valid(day) else None
    return None


def full_date(text: str) -> date | None:
    """The first day with its year in a text, or None."""
    day = named_day(text)
    return _date(day.year, day.month, day.day) if day and day.year else None


def relative_day(text: str, today: date | None) -> date | None:
    """The day that `yesterday`, `today` or `tomorrow` in a text means, or None."""
    if today is None:
        return None
    for name, offset in _RELATIVE.items():
        if re.search(rf"\b{name}\b", text, re.I):
            return _shifted(today, offset)
    return None


def _shifted(day: date, days: int) -> date | None:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return None


def span(text: str, today: date | None) -> tuple[date, date] | None:
    """First and last day of the time in the past that a text names, or None.

    What needs today's date to be understood is None without it.
    """
    if exact := full_date(text):
        return exact, exact
    if today is None:
        return None
    one = relative_day(text, today) or _days_ago(text, today) or _latest(text, today)
    return (one, one) if one else _period(text, today)


def _days_ago(text: str, today: date) -> date | None:
    match = re.search(r"\b(\d{1,4}) days ago\b", text, re.I)
    return _shifted(today, -int(match[1])) if match else None


def _latest(text: str, today: date) -> date | None:
    """The latest past day with the name said: `February 7`, `on Monday`."""
    if day := named_day(text):
        years = (_date(year, day.month, day.day) for year in range(today.year, 1, -1))
        return next((found for found in years if found and found <= today), None)
    for number, name in enumerate(WEEKDAYS):
        if re.search(rf"\b{name}\b", text, re.I):
            return _shifted(today, -((today.weekday() - number - 1) % 7 + 1))
    return None


def _period(text: str, today: date) -> tuple[date, date] | None:
    match = re.search(r"\b(this|last|past) (week|month|year)\b", text, re.I)
    if match is None:
        return _named_month(text, today)
    start = _start(match[2].lower(), today)
    if match[1].lower() == "this":
        return start, today
    end = _shifted(start, -1)
    return (_start(match[2].lower(), end), end) if end else None


def _start(period: str, day: date) -> date:
    if period == "week":
        return _shifted(day, -day.weekday()) or day
    return day.replace(day=1) if period == "month" else day.replace(month=1, day=1)


def _named_month(text: str, today: date) -> tuple[date, date] | None:
    match = re.search(rf"\b(?:in|during|of|last) (?P<month>{_MONTH})\b{_YEAR}", text, re.I)
    if match is None:
        return None
    month = _month(match["month"])
    year = int(match["year"]) if match["year"] else today.year - (month > today.month)
    start, after = _date(year, month, 1), _date(year + month // 12, month % 12 + 1, 1)
    end = _shifted(after, -1) if after else None
    return (start, end) if start and end else None
