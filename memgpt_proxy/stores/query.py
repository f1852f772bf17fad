"""Queries as people and models write them, taken apart the same way for every family of stores.

A query is words and "quoted phrases". Three kinds of term are told apart:

- a *word* matches by its stem, without case and diacritics;
- an *exact* term (a phrase, or what looks like an identifier) matches like that and
  must also stand in the text as it is written, case aside;
- a *scanned* term has no words that an index could find (scripts written without spaces,
  bare punctuation): it is looked for in every text of the namespace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memgpt_proxy.stores.storable import composed

MAX_TERMS = 64
"""Terms of a query that count; the rest is left out."""

MAX_CHARACTERS = 8192
"""Characters of a query that count; SQLite takes LIKE patterns of up to 50 000 bytes."""

_TERM = re.compile(r'"([^"]*)"|([^\s"]+)')
_IDENTIFIER = re.compile(r"\d|_|\w[^\w\s'\u2019]+\w")
_EDGES = ".,;:!?()[]{}<>'`\u2018\u2019\u201c\u201d\u00ab\u00bb\u2026"
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
"""A character of a script that is written without spaces."""
_UNSEARCHABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Query:
    """The terms of a query by kind, each once."""

    words: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """All terms."""
        return self.words + self.exact + self.scanned

    @property
    def indexed(self) -> tuple[str, ...]:
        """The terms that an index of words can find."""
        return self.words + self.exact


def parse(query: str) -> Query:
    """Split a query into terms. Any text is a query; one without terms finds nothing."""
    found: dict[str, str] = {}
    for phrase, word in _TERM.findall(_UNSEARCHABLE.sub(" ", composed(query[:MAX_CHARACTERS]))):
        term = " ".join(phrase.split()) or word.strip(_EDGES) or word
        if term and len(found) < MAX_TERMS:
            found.setdefault(term, _kind(term, quoted=bool(phrase)))
    if set(found.values()) - {"mark"}:  # punctuation between words is no term
        return Query(*(_of_kind(found, kind) for kind in ("word", "exact", "scanned")))
    return Query(scanned=tuple(found))


def _kind(term: str, *, quoted: bool) -> str:
    if not any(character.isalnum() for character in term):
        return "mark"
    if UNSPACED.search(term):
        return "scanned"
    return "exact" if quoted or _IDENTIFIER.search(term) else "word"


def _of_kind(found: dict[str, str], kind: str) -> tuple[str, ...]:
    return tuple(term for term in found if found[term] == kind)
