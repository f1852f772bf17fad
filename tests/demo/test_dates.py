from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.demo.dates import full_date, named_day, span

SATURDAY = date(2026, 2, 7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("May 3", "May 3"),
        ("on the 3rd of may", "May 3"),
        ("Sept. 21st, 1999", "September 21, 1999"),
        ("1990-05-03", "May 3, 1990"),
        ("Feb 29", "February 29"),
        ("Feb 30", None),
        ("may I", None),
    ],
)
def test_named_day(text: str, expected: str | None):
    day = named_day(text)
    assert (str(day) if day else None) == expected


def test_the_date_alert_is_a_full_date():
    assert full_date("Today is Saturday, February 7, 2026.") == SATURDAY


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("yesterday", date(2026, 2, 6), date(2026, 2, 6)),
        ("today", SATURDAY, SATURDAY),
        ("3 days ago", date(2026, 2, 4), date(2026, 2, 4)),
        ("on February 7", SATURDAY, SATURDAY),
        ("on February 8", date(2025, 2, 8), date(2025, 2, 8)),
        ("on February 8, 2024", date(2024, 2, 8), date(2024, 2, 8)),
        ("on Monday", date(2026, 2, 2), date(2026, 2, 2)),
        ("last saturday", date(2026, 1, 31), date(2026, 1, 31)),
        ("last week", date(2026, 1, 26), date(2026, 2, 1)),
        ("this week", date(2026, 2, 2), SATURDAY),
        ("last month", date(2026, 1, 1), date(2026, 1, 31)),
        ("last year", date(2025, 1, 1), date(2025, 12, 31)),
        ("in december", date(2025, 12, 1), date(2025, 12, 31)),
    ],
)
def test_span(text: str, first: date, last: date):
    assert span(text, SATURDAY) == (first, last)


def test_a_relative_day_needs_today():
    assert span("yesterday", None) is None


@given(st.text(), st.dates())
def test_any_text_on_any_day_is_read(text: str, today: date):
    found = span(text, today)
    assert found is None or found[0] <= found[1]


@given(
    st.sampled_from(["yesterday", "tomorrow", "last week", "last year", "9999 days ago", "monday"]),
    st.dates(),
)
def test_the_calendars_ends_are_no_error(text: str, today: date):
    span(text, today)
