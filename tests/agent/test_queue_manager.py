"""The queue manager: one warning a fill, and flushes that keep whole groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import orjson
import pytest

from memgpt_proxy.agent.main_context import Head, MainContext
from memgpt_proxy.agent.queue_manager import QueueManager
from memgpt_proxy.agent.summarizer import Summarizer
from memgpt_proxy.agent.window import Thresholds, Window
from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.memory import alerts
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import (
    Counts,
    Node,
    NodeId,
    QueueState,
    Role,
    TurnId,
    TurnRecord,
    WorkingContext,
)
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.agent.build import COUNTER
from tests.stores.build import ALICE, message

PRESSURE_AT = 0.7
WINDOW = Window(
    1000, 1.0, Thresholds(pressure_at=PRESSURE_AT, flush_at=1.0, flush_to=0.5, reply_reserve=0)
)
"""1 000 tokens, all for the prompt."""

NOTHING = QueueState(NodeId("m0"), 0, "", WorkingContext(0, ""), Counts(0, 0))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "memory.db")
    await opened.open()
    yield opened
    await opened.close()


def keeper(store: SqliteStore, asked: list[str] | None = None) -> QueueManager:
    def answer(request: httpx.Request) -> httpx.Response:
        told = orjson.loads(request.content)["messages"][-1]["content"]
        if asked is not None:
            asked.append(told)
        choice = {"index": 0, "message": {"role": "assistant", "content": "They met."}}
        return httpx.Response(200, json={"choices": [choice]})

    backend = Backend(
        "http://backend/v1", httpx.MockTransport(answer), api_key=None, timeouts=Timeouts(1, 1)
    )
    summarizer = Summarizer(backend, COUNTER, Telemetry(), tokens=50, model=None)
    return QueueManager(store, summarizer, PRESSURE_AT, Telemetry())


def filled(*tokens: int, roles: str = "", state: QueueState = NOTHING) -> MainContext:
    """A queue of messages with these counts; ``roles`` by their first letters, else users."""
    by_letter = {"u": Role.USER, "a": Role.ASSISTANT, "t": Role.TOOL}
    nodes = [
        message(
            f"m{n}",
            f"text {n}",
            role=by_letter[letter],
            tokens=count,
            depth=n,
            queue=state.node,
        )
        for n, (count, letter) in enumerate(zip(tokens, roles or "u" * len(tokens), strict=True))
    ]
    return MainContext(Head("", "", 0), Queue(state, nodes), COUNTER)


def fixed() -> int:
    """Tokens of a prompt whose queue is empty."""
    return filled().tokens


async def flush(
    manager: QueueManager, context: MainContext, *, at: str, tools: int = 0
) -> QueueState | None:
    return await manager.flush(
        ALICE, context, WINDOW, tools, at=NodeId(at), model="a-model", headers=[]
    )


def depths(context: MainContext) -> list[int]:
    return [node.depth for node in context.queue.nodes]


def test_pressure_is_signalled_at_the_threshold(store: SqliteStore) -> None:
    below = filled(699 - fixed())
    at = filled(700 - fixed())
    assert keeper(store).pressure(below, WINDOW, 0) is None
    warning = keeper(store).pressure(at, WINDOW, 0)
    assert warning is not None
    assert warning["role"] == "user"
    assert warning["content"].startswith(
        "System Alert: Memory Pressure. This conversation fills 70% of the context window"
    )


def test_a_prompt_that_is_flushed_at_once_gets_no_warning(store: SqliteStore) -> None:
    assert keeper(store).pressure(filled(900 - fixed()), WINDOW, 0) is not None
    assert keeper(store).pressure(filled(1001 - fixed()), WINDOW, 0) is None
    # Nor one that the warning itself would make too long.
    assert keeper(store).pressure(filled(999 - fixed()), WINDOW, 0) is None
    assert keeper(store).pressure(filled(900 - fixed()), WINDOW, 99) is None


def test_function_declarations_count(store: SqliteStore) -> None:
    assert keeper(store).pressure(filled(600 - fixed()), WINDOW, 99) is None
    assert keeper(store).pressure(filled(600 - fixed()), WINDOW, 100) is not None


def warned(node: Node, warning: object) -> Node:
    return replace(node, entries=orjson.dumps([warning]).decode())


def test_pressure_is_signalled_once_a_fill(store: SqliteStore) -> None:
    context = filled(400, 400, 10, roles="uau")
    warning = keeper(store).pressure(context, WINDOW, 0)
    context.queue.nodes[1] = warned(context.queue.nodes[1], warning)
    assert keeper(store).pressure(context, WINDOW, 0) is None


@pytest.mark.parametrize(("warned_of", "due"), [(3, True), (5, True), (6, False), (8, False)])
def test_after_a_flush_the_next_fill_is_signalled(
    store: SqliteStore, warned_of: int, due: bool
) -> None:
    """A flush behind message 5 has left 3 to 5; a warning beside them was about that flush."""
    flushed = QueueState(NodeId("m5"), 3, "They met.", WorkingContext(0, ""), Counts(0, 0))
    context = filled(*[90] * 9, state=flushed)
    nodes = [replace(n, queue=NodeId("m0")) if n.depth < 5 else n for n in context.queue.nodes[3:]]
    warning = alerts.memory_pressure(0.8)
    context.queue.nodes = [warned(n, warning) if n.depth == warned_of else n for n in nodes]
    signalled = keeper(store).pressure(context, WINDOW, 200)
    assert (signalled is not None) is due


def test_a_flush_is_due_above_the_window(store: SqliteStore) -> None:
    assert not keeper(store).needs_flush(filled(1000 - fixed()), WINDOW, 0)
    assert keeper(store).needs_flush(filled(1001 - fixed()), WINDOW, 0)
    assert keeper(store).needs_flush(filled(1000 - fixed()), WINDOW, 1)


async def test_a_flush_keeps_half_and_folds_the_rest(store: SqliteStore) -> None:
    asked: list[str] = []
    await store.write_context(ALICE, 0, "Name: Chad", NodeId("m0"), TurnId("t0"))
    await store.commit(ALICE, TurnRecord([message("m0", "hello")]))
    before = replace(NOTHING, summary="Long ago.")
    context = filled(*[100] * 11, roles="uauauauauau", state=before)
    state = await flush(keeper(store, asked), context, at="m10")
    assert context.tokens <= 500
    first = depths(context)[0]
    assert depths(context) == list(range(first, 11))
    assert context.tokens + 100 > 500  # no more than needed
    assert state == QueueState(
        NodeId("m10"), first, "They met.", WorkingContext(1, "Name: Chad"), Counts(1, 0)
    )
    assert context.queue.state == state
    assert context.queue.changed
    [told] = asked
    assert "Summary so far:\nLong ago.\n" in told
    assert "user: text 0\nassistant: text 1\n" in told
    assert f"text {first - 1}" in told
    assert f"text {first}" not in told


async def test_a_flush_never_parts_a_call_from_its_results(store: SqliteStore) -> None:
    context = filled(300, 300, 200, 100, 100, roles="uattu")
    await flush(keeper(store), context, at="m4")
    assert depths(context) == [4]


async def test_what_cannot_go_is_reckoned_with(store: SqliteStore) -> None:
    context = filled(100, 100, 100, 100)
    await flush(keeper(store), context, at="m3", tools=250)
    assert fixed() + context.queue.tokens + 250 <= 500
    assert depths(context)[-1] == 3


async def test_nothing_to_evict(store: SqliteStore) -> None:
    asked: list[str] = []
    for context in (filled(), filled(2000), filled(100, 100)):
        held = depths(context)
        assert await flush(keeper(store, asked), context, at="m1") is None
        assert depths(context) == held
        assert not context.queue.changed
    assert asked == []


async def test_a_store_that_is_away_is_told_of(store: SqliteStore) -> None:
    await store.close()
    context = filled(600, 600)
    asked: list[str] = []
    with pytest.raises(StoreError):
        await flush(keeper(store, asked), context, at="m1")
    assert depths(context) == [1]
    assert asked == []  # a summary that cannot be kept is not asked for
    assert not context.queue.changed
