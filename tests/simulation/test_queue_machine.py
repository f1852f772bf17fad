"""The queue as a state machine: whatever is said, evicted and flushed, in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.stores.records import (
    ROOT,
    ContentId,
    Counts,
    Node,
    NodeId,
    QueueState,
    Role,
    WorkingContext,
)

pytestmark = pytest.mark.slow

TOKENS = st.integers(0, 200)


class QueueMachine(RuleBasedStateMachine):
    """Holds all that was ever said, and how much of it was evicted."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Node] = []
        self.evicted = 0
        self.begun = 0
        self.flushes = 0

    @initialize(tokens=TOKENS)
    def begin(self, tokens: int) -> None:
        nothing = QueueState(ROOT, 0, "", WorkingContext(0, ""), Counts(0, 0))
        self.queue = Queue(nothing, [])
        self.say(tokens, Role.USER)

    @rule(tokens=TOKENS, role=st.sampled_from([Role.USER, Role.ASSISTANT, Role.SYSTEM]))
    def say(self, tokens: int, role: Role) -> None:
        node = _node(len(self.said), role, tokens)
        self.said.append(node)
        self.queue.nodes.append(node)

    @rule(tokens=TOKENS, results=st.lists(TOKENS, min_size=1, max_size=3))
    def call_tools(self, tokens: int, results: list[int]) -> None:
        self.say(tokens, Role.ASSISTANT)
        for result in results:
            self.say(result, Role.TOOL)

    @rule(keep=st.integers(0, 1000))
    def evict(self, keep: int) -> None:
        before = list(self.queue.nodes)
        evicted = self.queue.evict(keep)
        self.evicted += len(evicted)
        assert [*evicted, *self.queue.nodes] == before, "the oldest go, none is lost"
        assert not evicted or _tokens(before) > keep, "what fits is left alone"
        fewer = _without_first_group(self.queue.nodes)
        assert not fewer or _tokens(self.queue.nodes) <= keep, "more could have gone"
        if evicted:
            last = next(i for i in reversed(range(len(evicted))) if evicted[i].role != Role.TOOL)
            assert _tokens([*evicted[last:], *self.queue.nodes]) > keep, "less would have done"

    @rule(summary=st.text(max_size=10))
    def flush(self, summary: str) -> None:
        self.flushes += 1
        now = WorkingContext(self.flushes, "now")
        counts = Counts(len(self.said), self.flushes)
        self.queue.flushed(self.said[-1].id, summary, now, counts)
        self.begun = self.evicted
        assert self.queue.state == QueueState(
            self.said[-1].id, self.queue.nodes[0].depth, summary, now, counts
        )

    @rule()
    def read_again(self) -> None:
        """Another turn finds the queue as the state tells."""
        state = self.queue.state
        self.queue = Queue(state, self.said[state.start :])
        self.evicted = self.begun

    @invariant()
    def queue_is_the_end_of_what_was_said(self) -> None:
        assert self.queue.nodes == self.said[self.evicted :]
        assert self.queue.tokens == _tokens(self.queue.nodes)

    @invariant()
    def newest_message_is_there(self) -> None:
        assert self.queue.nodes[-1] == self.said[-1]

    @invariant()
    def no_result_is_parted_from_its_call(self) -> None:
        assert self.queue.nodes[0].role is not Role.TOOL


def _node(depth: int, role: Role, tokens: int) -> Node:
    return Node(
        id=NodeId(f"{depth:032x}"),
        key=NodeId(f"{depth:032x}"),
        content=ContentId(f"{depth:032x}"),
        parent=NodeId(f"{depth - 1:032x}") if depth else ROOT,
        depth=depth,
        role=role,
        text="",
        entries="[]",
        tokens=tokens,
        created=0.0,
        queue=ROOT,
        context_version=0,
    )


def _tokens(nodes: list[Node]) -> int:
    return sum(node.tokens for node in nodes)


def _without_first_group(nodes: list[Node]) -> list[Node]:
    """Return what is left once the oldest message is gone, with its results."""
    second = (i for i, node in enumerate(nodes) if i and node.role is not Role.TOOL)
    return nodes[next(second, len(nodes)) :]


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
