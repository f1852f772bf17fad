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
        self._other = make(OTHER)
        self._known: dict[str, Kept] = {}

    def of(self, model: str) -> Kept:
        """Return what is kept for a model."""
        return self._known.get(model, self._other)

    def accepted(self, model: str) -> Kept:
        """A backend has accepted a request for this model: it is told apart, if there is room."""
        known = self._known.get(model)
        if known is not None:
            return known
        if len(self._known) >= MOST_MODELS or len(model) > _LONGEST or not model.isprintable():
            return self._other
        known = self._known[model] = self._make(model)
        return known
