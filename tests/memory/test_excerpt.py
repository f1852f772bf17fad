"""What a search result shows of a long text: the part that the query is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory.excerpt import excerpt

FILLING = "The captain remembered the letter by the harbour. "
FACT = "The violin of Edgar, marked AE43FF-531, was in the boathouse. "


@given(text=st.text(max_size=400), query=st.text(max_size=40), longest=st.integers(1, 100))
def test_it_is_a_part_of_the_text(text: str, query: str, longest: int) -> None:
    shown = excerpt(text, query, longest)
    if len(text) <= longest:
        assert shown == text
    else:
        assert longest <= len(shown) <= longest + 2
        assert any(
            shown in (f"{'…' * (n > 0)}{text[n : n + longest]}{'…' * (n + longest < len(text))}")
            for n in range(len(text) - longest + 1)
        )


@given(before=st.integers(0, 60), after=st.integers(0, 60))
@pytest.mark.parametrize(
    "query", ["AE43FF-531", "Where was the violin of Edgar?", "edgar's violins", "BOATHOUSE"]
)
def test_the_answer_is_shown_wherever_it_stands(query: str, before: int, after: int) -> None:
    text = FILLING * before + FACT + FILLING * after
    assert FACT.strip() in excerpt(text, query, 300)


def test_without_a_match_the_beginning_is_shown() -> None:
    assert excerpt("abcdef", "xyz", 3) == excerpt("abcdef", "", 3) == "abc…"


def test_a_rare_term_counts_for_more_than_frequent_ones() -> None:
    text = "the letter by the harbour " * 50 + "a violin " + "the letter by the harbour " * 50
    assert "violin" in excerpt(text, "the letter by the violin", 40)


def test_scripts_without_spaces() -> None:
    text = "昨日は雨が降った。" * 50 + "誕生日は二月七日です。" + "昨日は雨が降った。" * 50
    assert "二月七日" in excerpt(text, "誕生日", 40)
