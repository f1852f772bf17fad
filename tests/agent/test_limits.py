"""``stop`` and ``max_tokens`` of the visible text, however it arrives."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.memory.tokens import TokenCounter
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


TEXTS = WORDS | st.text("aeinrst' \n09.é日本語👍\u0301", max_size=400) | st.text(max_size=60)


def is_seen_to_its_length(parts: list[str], tokens: int) -> None:
    """The specification: the longest beginning that tiktoken counts as no more than allowed."""
    text = "".join(parts)
    seen, reached = limited(parts, max_tokens=tokens)
    assert text.startswith(seen)
    assert (reached == "length") == (len(seen) < len(text))
    assert COUNTER.text(seen) <= tokens
    assert len(seen) >= len(COUNTER.head(text, tokens)[0])


@example(parts=["birthd", "ay"], tokens=1)
@example(parts=list("the birthday of Bartholomew"), tokens=3)
@example(parts=["日本語" * 300], tokens=100)
@given(parts=parts(TEXTS), tokens=st.integers(1, 200))
def test_a_length_is_tiktokens_count_of_the_whole(parts: list[str], tokens: int) -> None:
    is_seen_to_its_length(parts, tokens)


@given(text=TEXTS, tokens=st.integers(1, 200))
def test_a_length_letter_by_letter(text: str, tokens: int) -> None:
    is_seen_to_its_length(list(text), tokens)


@example(parts=["birthd", "ay"], slack=0)
@given(parts=parts(TEXTS), slack=st.integers(0, 5))
def test_a_text_that_is_short_enough_is_seen_whole(parts: list[str], slack: int) -> None:
    text = "".join(parts)
    allowed = COUNTER.text(text) + slack
    assert limited(parts, max_tokens=allowed) == (text, None)


class Counted(TokenCounter):
    """Sums up how many characters it was given."""

    characters = 0

    def text(self, text: str, enough: int = sys.maxsize) -> int:
        self.characters += len(text)
        return super().text(text, enough)

    def head(self, text: str, tokens: int) -> tuple[str, int]:
        self.characters += len(text)
        return super().head(text, tokens)

    def settled(self, text: str, open_tokens: int) -> tuple[int, int]:
        self.characters += len(text)
        return super().settled(text, open_tokens)


@pytest.mark.parametrize("text", ["lol yeah six flags! ", "日本語", "a"])
def test_counting_takes_time_in_proportion_to_the_text(text: str) -> None:
    costs = []
    for size in (2_000, 20_000):
        counter, whole = Counted("cl100k_base"), (text * size)[:size]
        limit = TextLimit([], COUNTER.text(whole) + 1, counter)
        for piece in pieces(whole, 4):
            limit.feed(piece)
        assert limit.reached is None
        costs.append(counter.characters)
    assert costs[1] <= 12 * costs[0]


def test_a_stop_text_and_a_length_together() -> None:
    assert limited(list("one two. three"), ["."], max_tokens=9) == ("one two", "stop")
    assert limited(list("one two three. four"), ["."], max_tokens=2) == ("one two", "length")
