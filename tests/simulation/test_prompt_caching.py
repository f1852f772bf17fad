"""From one step to the next the prompt changes only at its end, except after a flush."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from tests.simulation.backend import Prompt, tokens_of
from tests.simulation.client import Kind
from tests.simulation.simulation import Simulation

pytestmark = pytest.mark.slow

TURNS = 200
UNCHANGED = 0.9
"""Part of all prompt tokens that a backend's cache has to be able to take."""
MOST_FLUSHES_APART = 60


async def test_most_of_a_prompt_is_unchanged_since_the_step_before(tmp_path: Path):
    prompts: list[Prompt] = []
    async with Simulation(tmp_path, 7, window=8192, mishaps=0) as simulation:
        conversation = simulation.open(
            Kind.FULL, system="You are kind.", system_changes=False, rewriting="as it came"
        )
        for _ in range(TURNS):
            await simulation.turn(conversation)
            prompts += simulation.prompts
    steps = [prompt for prompt in prompts if not prompt.is_summary]
    tools = {orjson.dumps(step.body["tools"]) for step in steps}
    assert len(tools) == 1, "the declarations of functions are the same bytes each time"
    assert sum(prompt.is_summary for prompt in prompts) >= TURNS // MOST_FLUSHES_APART
    assert any("working_context_append" in step.raw.decode() for step in steps)
    assert _unchanged(steps) >= UNCHANGED


def _unchanged(steps: list[Prompt]) -> float:
    """Return the part of the prompts' tokens that stood there in the step before."""
    texts = [_messages(step.raw) for step in steps]
    total = sum(tokens_of(text) for text in texts)
    same = sum(tokens_of(after[: _common(before, after)]) for before, after in pairwise(texts))
    return same / total


def _messages(raw: bytes) -> str:
    """Return the messages as the bytes that went to the backend, without the closing bracket."""
    text = raw.decode()
    start = text.index('"messages":[')
    return text[start : text.index('],"stream":', start)]


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low
