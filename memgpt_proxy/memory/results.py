"""Search results, worded as on the MemGPT poster (Figs. 2 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from memgpt_proxy.stores.records import Hit, Page

PAGE_SIZE = 10
"""Results a page (the paper, section 2.3)."""


def offset(page: int) -> int:
    """Return how many hits come before ``page``; pages count from 1."""
    return (page - 1) * PAGE_SIZE


class ResultFormat:
    """Words a page of hits for the model.

    Args:
        zone: Time zone of the dates.
        longest: Characters that one hit may take; the rest of it is cut.
    """

    def __init__(self, zone: tzinfo, longest: int = 2000) -> None:
        self._zone = zone
        self._longest = longest

    def messages(self, found: Page, page: int) -> str:
        """Return recall results, each with its date: ``[01/24/2024] "lol yeah six flags"``."""
        return _showing(found, page, [f"[{self._date(h)}] {self._quote(h)}" for h in found.hits])

    def passages(self, found: Page, page: int) -> str:
        """Return archival results: ``Showing 10 of 124 results (page 1/13): "…", "…"``."""
        return _showing(found, page, [self._quote(hit) for hit in found.hits])

    def _date(self, hit: Hit) -> str:
        return datetime.fromtimestamp(hit.created, self._zone).strftime("%m/%d/%Y")

    def _quote(self, hit: Hit) -> str:
        text = hit.text
        if len(text) > self._longest:
            text = f"{text[: self._longest]}… (cut, {len(hit.text)} characters)"
        return f'"{text}"'


def _showing(found: Page, page: int, shown: Sequence[str]) -> str:
    pages = max(1, -(-found.total // PAGE_SIZE))
    head = f"Showing {len(shown)} of {found.total} results (page {page}/{pages})"
    if shown:
        return f"{head}: {', '.join(shown)}"
    if found.total:
        return f"{head}: past the end; the last page is {pages}."
    return f"{head}."
