"""Queries in, terms and conditions out."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.stores.query import MAX_TERMS, Query, parse
from memgpt_proxy.stores.sqlite.search import like, match


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("six flags", Query(words=("six", "flags"))),
        ("Hello, world!", Query(words=("Hello", "world"))),
        ("six six", Query(words=("six",))),
        ('the "six flags"', Query(words=("the",), exact=("six flags",))),
        ('"six \n flags', Query(words=("six", "flags"))),
        ('""', Query()),
        ("", Query()),
        ("don't", Query(words=("don't",))),
        ("(a-b)", Query(exact=("a-b",))),
        ("<ann@example.com>.", Query(exact=("ann@example.com",))),
        ("foo_bar.py 42", Query(exact=("foo_bar.py", "42"))),
        ("tea & 東京", Query(words=("tea",), scanned=("東京",))),
        ("?!", Query(scanned=("?!",))),
        ("\0a\ud800b", Query(words=("a", "b"))),
    ],
)
def test_terms_are_told_apart(query: str, expected: Query) -> None:
    assert parse(query) == expected


def test_terms_are_bounded() -> None:
    assert len(parse(" ".join(f"w{'o' * n}" for n in range(100))).terms) == MAX_TERMS


def test_a_match_is_quoted_and_bound_to_its_namespace() -> None:
    assert match(("a", 'b"c'), "12", every=True) == 'namespace : "12" AND text : ("a" AND "b""c")'
    assert match(("a", "b"), "12", every=False) == 'namespace : "12" AND text : ("a" OR "b")'


@given(
    before=st.text(st.characters(max_codepoint=127, exclude_characters="\0")),
    term=st.text(st.characters(max_codepoint=127, exclude_characters="\0")),
    text=st.text(st.characters(max_codepoint=127, exclude_characters="\0")),
)
def test_like_is_a_substring_test_without_case(before: str, term: str, text: str) -> None:
    connection = sqlite3.connect(":memory:")
    for whole in (before + term.swapcase() + text, text):
        (found,) = connection.execute("SELECT ? LIKE ? ESCAPE '\\'", (whole, like(term))).fetchone()
        assert bool(found) == (term.lower() in whole.lower())
    connection.close()
