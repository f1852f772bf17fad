"""A toy embedding model whose similarities can be told beforehand: words of one concept agree."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from memgpt_proxy.stores.vectors import Vector

CONCEPTS = (
    {"cat", "cats", "feline", "kitten", "pet"},
    {"car", "cars", "vehicle", "automobile"},
    {"rain", "weather", "storm"},
)
OTHER_WORDS = 97


def concepts(text: str) -> list[float]:
    """One axis for each concept, and some for all other words of three letters or more.

    So "cat" and "feline" have the similarity 1, "cat" and "car" 0, "cat rain" and "feline" √½.
    """
    vector = [0.0] * (len(CONCEPTS) + OTHER_WORDS)
    for word in re.findall(r"\w{3,}", text.lower()):
        at = next((at for at, words in enumerate(CONCEPTS) if word in words), None)
        vector[at if at is not None else len(CONCEPTS) + _other(word)] += 1.0
    return vector if any(vector) else [1.0] * len(vector)


def _other(word: str) -> int:
    return sum(place * ord(letter) for place, letter in enumerate(word, 1)) % OTHER_WORDS


class Concepts:
    """The model as memory uses it."""

    def __init__(self, model: str = "concepts") -> None:
        self.model = model
        self.where = f"{model} in this process"
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        self.asked += texts
        return [unit(text) for text in texts]

    async def embed_query(self, text: str) -> Vector:
        return unit(text)


def unit(text: str) -> Vector:
    vector = np.array(concepts(text), np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
