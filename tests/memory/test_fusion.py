"""Reciprocal rank fusion, against sums made by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory.fusion import fuse
from memgpt_proxy.stores.records import Hit


def hits(names: str) -> list[Hit]:
    return [Hit(name, f"text of {name}", 1.0) for name in names]


def names(fused: list[Hit]) -> str:
    return "".join(hit.id for hit in fused)


def test_two_orders() -> None:
    """c: 1/63 + 1/61 = 0.0323; a: 1/61 = 0.0164; b and d: 1/62 = 0.0161, words first."""
    assert names(fuse(hits("abc"), hits("cd"))) == "cabd"


def test_what_both_orders_have_comes_before_the_first_of_one() -> None:
    """e: 1/65 + 1/65 = 0.0308; a and x: 1/61 = 0.0164."""
    assert names(fuse(hits("abcde"), hits("xyzwe"))) == "eaxbyczdw"


def test_one_order_stays_as_it_is() -> None:
    assert names(fuse(hits("cab"), [])) == "cab"
    assert names(fuse([], hits("cab"))) == "cab"
    assert fuse() == []


orders = st.lists(st.sampled_from("abcdefgh"), unique=True).map("".join)


@given(orders, orders)
def test_each_hit_comes_once_by_its_score(words: str, meaning: str) -> None:
    fused = names(fuse(hits(words), hits(meaning)))
    assert sorted(fused) == sorted(set(words + meaning))
    scores = [
        sum(1 / (61 + order.index(name)) for order in (words, meaning) if name in order)
        for name in fused
    ]
    assert scores == sorted(scores, reverse=True)
