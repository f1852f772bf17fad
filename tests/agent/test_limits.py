"""``stop`` and ``max_tokens`` of the visible text, however it arrives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memgpt_proxy.agent.limits import TextLimit
from tests.agent.build import COUNTER, pieces


def limited(
    parts: list[str], stop: list[str] | None = None, max_tokens: int | None = None
) -> tuple[str, str | None]:
    """Return what is seen of a text that comes in ``parts``, and why it ended."""
    limit = TextLimit(stop or [], max_tokens, COUNTER)
    seen = "".join(map(limit.feed, parts)) + limit.close()
    return seen, limit.reached


def cut(text: str, stop: list[str]) -> str:
    """The specification: letter by letter, until a stop text is complete."""
    for end in range(len(text) + 1):
        places = [end - len(each) for each in stop if text[:end].endswith(each)]
        if places:
            return text[: min(places)]
    return text


@st.composite
def parts(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[str]:
    text = draw(texts)
    places = draw(st.lists(st.integers(0, len(text)), max_size=6))
    return [text[a:b] for a, b in pairwise([0, *sorted(places), len(text)])]


@example(parts=["abc"], stop=["abc", "b"])
@example(parts=["abc"], stop=["bc", "abc"])
@given(
    parts=parts(st.text("abc", max_size=30)),
    stop=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_stop_texts_cut_as_if_the_text_came_at_once(parts: list[str], stop: list[str]) -> None:
    assert limited(parts, stop)[0] == cut("".join(parts), stop)


def test_every_cut_of_a_stop_text() -> None:
    text, stop = "Say it. </end> Not this.", ["</end>"]
    for place in range(len(text)):
        assert limited([text[:place], text[place:]], stop) == ("Say it. ", "stop")


def test_of_several_stop_texts_the_first_to_come_counts() -> None:
    assert limited(list("one two three"), ["three", "two"]) == ("one ", "stop")


def test_what_only_begins_a_stop_text_is_seen_as_soon_as_that_is_certain() -> None:
    limit = TextLimit(["END"], None, COUNTER)
    assert [limit.feed(text) for text in ("E", "N", "d", "E")] == ["", "", "ENd", ""]
    assert limit.close() == "E"
    assert limit.reached is None


def test_an_empty_stop_text_stops_nothing() -> None:
    assert limited(["abc"], [""]) == ("abc", None)


def test_nothing_follows_the_end() -> None:
    limit = TextLimit(["."], None, COUNTER)
    assert limit.feed("One. Two") == "One"
    assert limit.feed("Three") == limit.close() == ""


# In cl100k_base, as tiktoken counts it: "one two three four" is four tokens.
@pytest.mark.parametrize(
    ("tokens", "seen", "reached"),
    [
        (1, "one", "length"),
        (2, "one two", "length"),
        (4, "one two three four", None),
        (9, "one two three four", None),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_length_in_tokens(tokens: int, seen: str, reached: str | None, size: int) -> None:
    assert limited(pieces("one two three four", size), max_tokens=tokens) == (seen, reached)


WORDS = st.lists(
    st.sampled_from(
        ["the", "birthday", "cake", "don't", "42", "(really)", "\n\n", "déjà", "…", "_"]
    ),
    min_size=1,
    max_size=30,
).map(" ".join)


@given(parts=parts(WORDS), slack=st.integers(0, 5))
def test_a_text_that_is_short_enough_is_seen_whole(parts: list[str], slack: int) -> None:
    text = "".join(parts)
    # A word's beginning may take more tokens than the word: four more than it at the most here.
    allowed = COUNTER.text(text) + 4 + slack
    assert limited(parts, max_tokens=allowed) == (text, None)


@given(parts=parts(WORDS), tokens=st.integers(1, 20))
def test_no_more_is_seen_than_the_length_allows(parts: list[str], tokens: int) -> None:
    text = "".join(parts)
    seen, reached = limited(parts, max_tokens=tokens)
    assert text.startswith(seen)
    assert COUNTER.text(seen) <= tokens
    assert (reached == "length") == (len(seen) < len(text))


def test_a_stop_text_and_a_length_together() -> None:
    assert limited(list("one two. three"), ["."], max_tokens=9) == ("one two", "stop")
    assert limited(list("one two three. four"), ["."], max_tokens=2) == ("one two", "length")
