"""Models' names as labels: clients write them, so there is a bound on how many are told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

MOST_MODELS = 32
OTHER = "other"
"""Stands for all models beyond the bound, and for those that no backend has accepted yet."""

_LONGEST = 100

Kept = TypeVar("Kept")


class ByModel(Generic[Kept]):
    """What is kept for each model.

    Args:
        make: Makes it, given the model's label.
    """

    def __init__(self, make: Callable[[str], Kept]) -> None:
        self._make = make
        self._kept: dict[str, Kept] = {}

    def of(self, model: str) -> Kept:
        """Return what is kept for a model."""
        return self._kept.get(model) or self._labelled(OTHER)

    def accepted(self, model: str) -> Kept:
        """A backend has accepted a request for this model: it is told apart, if there is room."""
        known = self._kept.get(model)
        if known is not None:
            return known
        fits = len(model) <= _LONGEST and model.isprintable()
        return self._labelled(model if fits and len(self._kept) < MOST_MODELS else OTHER)

    def _labelled(self, label: str) -> Kept:
        kept = self._kept.get(label)
        if kept is None:
            kept = self._kept[label] = self._make(label)
        return kept
