"""Long texts cut to passages: nothing lost, none too long, the same again."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory.archival import PASSAGE_CHARACTERS, cut
from memgpt_proxy.stores.records import NodeId
from memgpt_proxy.stores.storable import composed

HERE, THERE = NodeId("m0"), NodeId("m1")
PIECES = st.sampled_from(["word ", "A sentence. ", "\n\n", "\n", "x" * 700, "é" * 1300, "  "])
ANY_TEXT = st.text(st.characters(), max_size=50).map(lambda piece: piece * 40)
"""Lone surrogates and all: what is cut need not be encodable."""


def without_space(text: str) -> str:
    return "".join(text.split())


@given(st.lists(PIECES, max_size=60).map("".join))
def test_nothing_is_lost_and_none_is_too_long(text: str) -> None:
    pieces = [passage.text for passage in cut(text, HERE, 0.0)]
    assert without_space("".join(pieces)) == without_space(composed(text))
    assert all(0 < len(piece) <= PASSAGE_CHARACTERS for piece in pieces)
    assert all(piece == piece.strip() for piece in pieces)


@given(ANY_TEXT)
def test_any_text_is_cut(text: str) -> None:
    pieces = [passage.text for passage in cut(text, HERE, 0.0)]
    assert without_space("".join(pieces)) == without_space(composed(text))
    assert all(0 < len(piece) <= PASSAGE_CHARACTERS for piece in pieces)


NINE_MEGABYTES = 9_000_000
LONG_TEXTS = {
    "one line without a space": "abcdefghij" * (NINE_MEGABYTES // 10),
    "base64": b64encode(bytes(n * n % 251 for n in range(60_000))).decode() * 112,
    "three bytes each": "記憶" * (NINE_MEGABYTES // 6),
    "spaces only": " " * NINE_MEGABYTES,
    "lines only": "\n" * NINE_MEGABYTES,
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_nine_megabytes_are_cut(text: str) -> None:
    passages = cut(text, HERE, 0.0)
    assert "".join(passage.text for passage in passages) == text.strip()
    assert len({passage.id for passage in passages}) == len(passages)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_the_same_text_makes_the_same_passages(text: str) -> None:
    first, again, elsewhere = cut(text, HERE, 1.0), cut(text, HERE, 2.0), cut(text, THERE, 1.0)
    names = {passage.id for passage in first}
    assert [passage.id for passage in again] == [passage.id for passage in first]
    assert len(names) == len(first)
    assert names.isdisjoint(passage.id for passage in elsewhere)


def test_words_stay_whole_where_they_can() -> None:
    text = " ".join(f"word{n}" for n in range(1000))
    words = [word for passage in cut(text, HERE, 0.0) for word in passage.text.split()]
    assert words == text.split()


def test_a_short_text_is_one_passage() -> None:
    [passage] = cut(" a note \n", HERE, 5.0)
    assert (passage.text, passage.created, passage.node) == ("a note", 5.0, HERE)
    assert cut(" \n", HERE, 5.0) == []
