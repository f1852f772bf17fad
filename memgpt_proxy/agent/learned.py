"""What is learned of models, by their names: kept for the life of the process, and bounded."""

from __future__ import annotations

from typing import TypeVar

MOST_MODELS = 1024
"""Names come from clients: of more, the one learned longest ago is forgotten."""

Value = TypeVar("Value")


class Learned(dict[str, Value]):
    """A value for each model; one that is learned again counts as new."""

    def __setitem__(self, model: str, value: Value) -> None:
        self.pop(model, None)
        super().__setitem__(model, value)
        if len(self) > MOST_MODELS:
            del self[next(iter(self))]
