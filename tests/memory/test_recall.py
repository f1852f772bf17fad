"""Recall storage as the model reads it: the poster's words, and days with both ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from memgpt_proxy.memory.failure import CallFailed
from memgpt_proxy.memory.recall import Recall
from memgpt_proxy.memory.results import ResultFormat
from memgpt_proxy.stores.records import Hit, Page, TurnRecord
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, message

LONGEST = 2000
LISBON = ZoneInfo("Europe/Lisbon")


def at(*when: int, zone: ZoneInfo | None = None) -> float:
    return datetime(*when, tzinfo=zone or UTC).timestamp()  # type: ignore[arg-type,misc]


SAID = {
    "james and I actually first met at six flags": at(2023, 10, 12, 9),
    "I love six flags been like 100 times": at(2024, 1, 14, 9),
    "lol yeah six flags": at(2024, 1, 24, 9),
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "memory.db")
    await opened.open()
    nodes = [message(f"m{n}", text, created=when) for n, (text, when) in enumerate(SAID.items())]
    await opened.commit(ALICE, TurnRecord(nodes))
    yield opened
    await opened.close()


def recall(store: SqliteStore, zone: ZoneInfo = LISBON) -> Recall:
    return Recall(store, ResultFormat(zone), zone)


async def test_the_posters_search(store: SqliteStore) -> None:
    assert await recall(store).search(ALICE, "six flags", 1, LONGEST) == (
        'Showing 3 of 3 results (page 1/1): [01/24/2024] "lol yeah six flags", '
        '[01/14/2024] "I love six flags been like 100 times", '
        '[10/12/2023] "james and I actually first met at six flags"'
    )


@pytest.mark.parametrize("written", ["2024-01-14", "01/14/2024", "2024/01/14", " 2024-01-14T09:00"])
async def test_a_day_holds_what_was_said_on_it(store: SqliteStore, written: str) -> None:
    found = await recall(store).search_dates(ALICE, written, written, 1, LONGEST)
    assert found == (
        'Showing 1 of 1 results (page 1/1): [01/14/2024] "I love six flags been like 100 times"'
    )


async def test_both_ends_are_included(store: SqliteStore) -> None:
    found = await recall(store).search_dates(ALICE, "2024-01-14", "2024-01-24", 1, LONGEST)
    assert found.startswith("Showing 2 of 2 results")
    assert (await recall(store).search_dates(ALICE, "2024-01-15", "2024-01-23", 1, LONGEST)) == (
        "Showing 0 of 0 results (page 1/1)."
    )


async def test_days_are_those_of_the_time_zone(store: SqliteStore) -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    late = message("late", "late", created=at(2024, 3, 1, 20))  # March 2 in Tokyo
    await store.commit(ALICE, TurnRecord([late]))
    assert '[03/02/2024] "late"' in await recall(store, tokyo).search_dates(
        ALICE, "2024-03-02", "2024-03-02", 1, LONGEST
    )


@pytest.mark.parametrize("written", ["", "yesterday", "14.01.2024", "2024-13-01", "2024-02-30"])
async def test_what_is_no_date_is_told_of(store: SqliteStore, written: str) -> None:
    with pytest.raises(CallFailed, match="start_date is not a date; write it as YYYY-MM-DD"):
        await recall(store).search_dates(ALICE, written, "2024-01-01", 1, LONGEST)
    with pytest.raises(CallFailed, match="end_date"):
        await recall(store).search_dates(ALICE, "2024-01-01", written, 1, LONGEST)


@pytest.mark.parametrize("written", ["9999-12-31", "0001-01-01"])
async def test_the_ends_of_the_calendar_are_no_failure(store: SqliteStore, written: str) -> None:
    await recall(store).search_dates(ALICE, "0001-01-01", written, 1, LONGEST)


def page(total: int, *texts: str) -> Page:
    return Page(total, tuple(Hit(text, text, 0.0) for text in texts))


@pytest.mark.parametrize(
    ("found", "number", "expected"),
    [
        (page(0), 1, "Showing 0 of 0 results (page 1/1)."),
        (page(1, "a"), 1, 'Showing 1 of 1 results (page 1/1): "a"'),
        (page(124, "a", "b"), 1, 'Showing 2 of 124 results (page 1/13): "a", "b"'),
        (page(124, "z"), 13, 'Showing 1 of 124 results (page 13/13): "z"'),
        (
            page(124),
            14,
            "Showing 0 of 124 results (page 14/13): past the end; the last page is 13.",
        ),
    ],
)
def test_archival_results(found: Page, number: int, expected: str) -> None:
    assert ResultFormat(LISBON).passages(found, number, LONGEST) == expected


def test_a_long_result_is_cut_and_says_so() -> None:
    told = ResultFormat(LISBON).passages(page(1, "x" * 2001), 1, LONGEST)
    assert told.startswith(f'Showing 1 of 1 results (page 1/1): "{"x" * 2000}…')
    assert "x" * 2001 not in told
    assert "cut, 2001 characters" in told
