"""A conversation without end: it stays correct, and message 10 000 costs what message 200 did."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.stores.sqlite import SqliteStore
from tests.simulation.client import Conversation, Kind
from tests.simulation.simulation import Simulation

pytestmark = pytest.mark.slow

TURNS = 5_500
MESSAGES = 10_000
SETTLED = 100
"""Turns after which the window has been filled and flushed."""
MEASURED = 40
ONE_MORE_CALL = 1.0
MUCH_LONGER = 1.3


@dataclass(frozen=True, slots=True)
class Cost:
    """What a turn costs on average: calls of the store, and tokens of its longest prompt."""

    calls: float
    tokens: float


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [Kind.FULL])
async def test_ten_thousand_messages(tmp_path: Path, kind: Kind, store_calls: Counter[str]):
    async with Simulation(tmp_path, 300) as simulation:
        main = simulation.open_main(kind, rewriting="white space collapsed")
        await simulation.run(SETTLED)
        first = await _cost(simulation, main, store_calls)
        await simulation.run(TURNS - SETTLED - 2 * MEASURED)
        last = await _cost(simulation, main, store_calls)
        await simulation.check_everything()
        assert len(simulation.ledger.said) > MESSAGES
    assert last.calls <= first.calls + ONE_MORE_CALL
    assert last.tokens <= first.tokens * MUCH_LONGER


async def _cost(simulation: Simulation, main: Conversation, calls: Counter[str]) -> Cost:
    """Let somebody make plain remarks, and return what they cost."""
    while not main.is_at_reply():
        await simulation.turn(main)
    before, tokens = calls.total(), 0
    for _ in range(MEASURED):
        await simulation.turn(main, simulation.remarks)
        tokens += max(prompt.tokens for prompt in simulation.prompts)
    return Cost((calls.total() - before) / MEASURED, tokens / MEASURED)


@pytest.fixture
def store_calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of the store on disk, by name."""
    calls: Counter[str] = Counter()
    for name, method in list(vars(SqliteStore).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            monkeypatch.setattr(SqliteStore, name, _counted(calls, name, method))
    return calls


def _counted(calls: Counter[str], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def counted(*given: Any, **named: Any) -> Any:
        calls[name] += 1
        return await method(*given, **named)

    return counted
