"""The FIFO queue: what is evicted, and what stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.stores.records import Counts, Node, NodeId, Role, WorkingContext
from tests.stores.build import message, queue


def nodes(*roles_and_tokens: tuple[Role, int]) -> list[Node]:
    return [
        message(f"m{depth}", f"text {depth}", role=role, tokens=tokens, depth=depth)
        for depth, (role, tokens) in enumerate(roles_and_tokens)
    ]


NODES = st.lists(
    st.tuples(st.sampled_from([Role.USER, Role.ASSISTANT, Role.TOOL]), st.integers(0, 50)),
    max_size=12,
).map(lambda drawn: nodes((Role.USER, 1), *drawn))


@given(held=NODES, keep=st.integers(0, 300))
def test_eviction(held: list[Node], keep: int) -> None:
    evicting = Queue(queue("m0", start=0), list(held))
    evicted = evicting.evict(keep)
    assert evicted + evicting.nodes == held
    # Never an orphan: what stays begins with no tool's result, and something stays.
    assert evicting.nodes[0].role is not Role.TOOL
    groups = [n for n, node in enumerate(held) if node.role is not Role.TOOL]
    if evicting.tokens > keep:
        assert len(evicted) == groups[-1]
    # No more than needed: with one group more, it would be too much.
    if evicted:
        fewer = max(start for start in groups if start < len(evicted))
        assert sum(node.tokens for node in held[fewer:]) > keep


def test_a_tool_group_goes_as_a_whole() -> None:
    roles = (Role.USER, Role.ASSISTANT, Role.TOOL, Role.TOOL, Role.ASSISTANT, Role.USER)
    held = nodes(*((role, 10) for role in roles))
    evicting = Queue(queue("m0", start=0), list(held))
    assert evicting.evict(45) == held[:4]


def test_an_empty_queue_gives_nothing() -> None:
    assert Queue(queue("m0", start=0), []).evict(0) == []


def test_a_flushed_queue_begins_at_its_oldest_message() -> None:
    flushed = Queue(queue("m0", start=0), nodes(*[(Role.USER, 10)] * 4))
    flushed.evict(20)
    flushed.flushed(NodeId("m3"), "they met", WorkingContext(2, "x"), Counts(4, 0))
    assert flushed.changed
    assert flushed.state.start == 2
    assert flushed.state.node == "m3"
    assert (flushed.state.summary, flushed.state.context.version) == ("they met", 2)
