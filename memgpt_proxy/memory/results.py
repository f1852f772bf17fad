"""Search results, worded as on the MemGPT poster (Figs. 2 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from memgpt_proxy.memory.excerpt import excerpt
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
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def messages(self, found: Page, page: int, longest: int, query: str = "") -> str:
        """Return recall results, each with its date: ``[01/24/2024] "lol yeah six flags"``.

        Args:
            longest: Characters that one hit may take; the rest of it is cut.
            query: What was searched for: of a long hit the part about it is shown.
        """
        shown = [f"[{self._date(hit)}] {_quote(hit, longest, query)}" for hit in found.hits]
        return _showing(found, page, shown)

    def passages(self, found: Page, page: int, longest: int, query: str = "") -> str:
        """Return archival results: ``Showing 10 of 124 results (page 1/13): "…", "…"``."""
        return _showing(found, page, [_quote(hit, longest, query) for hit in found.hits])

    def _date(self, hit: Hit) -> str:
        return datetime.fromtimestamp(hit.created, self._zone).strftime("%m/%d/%Y")


def _quote(hit: Hit, longest: int, query: str) -> str:
    if len(hit.text) <= longest:
        return f'"{hit.text}"'
    shown = excerpt(hit.text, query, longest)
    return f'"{shown}" (cut, {len(hit.text)} characters in all)'


def _showing(found: Page, page: int, shown: Sequence[str]) -> str:
    pages = max(1, -(-found.total // PAGE_SIZE))
    head = f"Showing {len(shown)} of {found.total} results (page {page}/{pages})"
    if shown:
        return f"{head}: {', '.join(shown)}"
    if found.total:
        return f"{head}: past the end; the last page is {pages}."
    return f"{head}."
