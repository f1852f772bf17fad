"""Recall storage: every message ever said, searched by words or by date."""

from __future__ import annotations

from datetime import MAXYEAR, datetime, timedelta, tzinfo

from memgpt_proxy.memory.failure import CallFailed
from memgpt_proxy.memory.results import PAGE_SIZE, ResultFormat, offset
from memgpt_proxy.stores.protocols import RecallStore
from memgpt_proxy.stores.records import Namespace

_DATE_FORMATS = ("%Y-%m-%d", "%m/%d/%Y", "%Y/%m/%d")


class Recall:
    """Searches what was said in a namespace, for the model to read."""

    def __init__(self, store: RecallStore, wording: ResultFormat, zone: tzinfo) -> None:
        self._store = store
        self._wording = wording
        self._zone = zone

    async def search(self, namespace: Namespace, query: str, page: int, longest: int) -> str:
        """Return a page of the messages that match ``query``, each cut at ``longest``."""
        found = await self._store.search_messages(
            namespace, query, limit=PAGE_SIZE, offset=offset(page)
        )
        return self._wording.messages(found, page, longest, query)

    async def search_dates(
        self, namespace: Namespace, start: str, end: str, page: int, longest: int
    ) -> str:
        """Return a page of the messages between two days, both included.

        Raises CallFailed when a date cannot be read.
        """
        found = await self._store.messages_between(
            namespace,
            self._day(start, "start_date"),
            _next_day(self._day(end, "end_date")),
            limit=PAGE_SIZE,
            offset=offset(page),
        )
        return self._wording.messages(found, page, longest)

    def _day(self, text: str, argument: str) -> datetime:
        for form in _DATE_FORMATS:
            try:
                return datetime.strptime(text.strip()[:10], form).replace(tzinfo=self._zone)
            except ValueError:
                continue
        raise CallFailed(f"{argument} is not a date; write it as YYYY-MM-DD.")


def _next_day(day: datetime) -> datetime:
    """Return the day after; the calendar's last year has none that a store could be asked for."""
    return day if day.year == MAXYEAR else day + timedelta(days=1)
