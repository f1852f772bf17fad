"""Two orders of hits made one: reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""

from __future__ import annotations

from collections.abc import Sequence

from memgpt_proxy.stores.records import Hit

RANK_CONSTANT = 60
"""How little the first places count more than those after them; 60 as in the paper."""


def fuse(*orders: Sequence[Hit]) -> list[Hit]:
    """Return the hits of all orders, each once, best first.

    A hit's score is the sum of ``1 / (60 + rank)`` over the orders that have it; of equal
    ones that of an earlier order comes first.
    """
    scores: dict[str, float] = {}
    hits: dict[str, Hit] = {}
    for order in orders:
        for rank, hit in enumerate(order, start=1):
            hits.setdefault(hit.id, hit)
            scores[hit.id] = scores.get(hit.id, 0.0) + 1 / (RANK_CONSTANT + rank)
    return sorted(hits.values(), key=lambda hit: -scores[hit.id])
