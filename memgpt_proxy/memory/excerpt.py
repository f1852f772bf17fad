"""The part of a long text that answers a query: what a search result shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

_SEARCHED = 100_000
"""Characters of a text that are looked at."""
_MOST_TERMS = 32
_MOST_PLACES = 200
"""Places of one term that count."""
_EDGES = ".,;:!?()[]{}<>'\"`…"
_STEM = 5
"""Letters from which on a word may be written with another ending."""

_Place = tuple[int, str]


def excerpt(text: str, query: str, longest: int) -> str:
    """Return ``longest`` characters of ``text``, with an ellipsis where it is cut.

    They are those around most terms of ``query``, a rare one counting for more than a
    frequent one; the beginning, where there is none of them.
    """
    if len(text) <= longest:
        return text
    places = sorted(_places(text[:_SEARCHED].lower(), _terms(query)))
    first, last = _densest(places, longest // 2)  # what they are about stands around them
    start = min(max(0, first - max(0, longest - (last - first)) // 2), len(text) - longest)
    end = start + longest
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _terms(query: str) -> Iterator[str]:
    words = (word.strip(_EDGES) for word in query.lower().split())
    distinct = list(dict.fromkeys(word for word in words if word))[:_MOST_TERMS]
    return (word[:-2] if len(word) > _STEM and word.isalpha() else word for word in distinct)


def _places(text: str, terms: Iterator[str]) -> Iterator[_Place]:
    for term in terms:
        place = text.find(term)
        for _ in range(_MOST_PLACES):
            if place < 0:
                break
            yield place, term
            place = text.find(term, place + len(term))


def _densest(places: Sequence[_Place], width: int) -> tuple[int, int]:
    """Return from where to where the most telling terms stand, ``width`` apart at most."""
    often = Counter(term for _, term in places)
    best, found = 0.0, (0, 0)
    inside: Counter[str] = Counter()
    start = 0
    for place, term in places:
        inside[term] += 1
        end = place + len(term)
        while end - places[start][0] > width and places[start] != (place, term):
            inside[places[start][1]] -= 1
            start += 1
        telling = sum(1 / often[each] for each, times in inside.items() if times)
        if telling > best:
            best, found = telling, (places[start][0], end)
    return found
