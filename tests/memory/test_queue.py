"""The FIFO queue: what is evicted, and what stays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

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


@given(held=NODES, keep=st.integers(0, 300), room=st.integers(0, 300))
def test_the_users_newest_words_stay_while_all_since_fits(
    held: list[Node], keep: int, room: int
) -> None:
    asked = max(n for n, node in enumerate(held) if node.role is Role.USER)
    since = sum(node.tokens for node in held[asked:])
    plain, evicting = Queue(queue("m0", start=0), list(held)), Queue(queue("m0", 0), list(held))
    plain.evict(keep)
    evicting.evict(keep, room)
    if len(plain.nodes) < len(held) - asked and since <= room:
        assert evicting.nodes == held[asked:]
    else:
        assert evicting.nodes == plain.nodes


def calling(*ids: str) -> dict[str, Any]:
    function = {"name": "read", "arguments": "{}"}
    calls = [{"id": id, "type": "function", "function": function} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": f"result of {id}"}


@dataclass(frozen=True, slots=True)
class Held:
    """What a queue holds, told by its groups; each group is the nodes of one."""

    groups: list[list[Node]]

    @property
    def nodes(self) -> list[Node]:
        return [node for group in self.groups for node in group]


@st.composite
def queues(draw: st.DrawFn) -> Held:
    """Random groups: messages, replies with hidden steps, parallel calls with their results."""
    ids, depths = count(), count()

    def node(role: Role, *entries: dict[str, Any]) -> Node:
        depth, tokens = next(depths), draw(st.integers(0, 50))
        told = json.dumps(entries)
        return message(f"m{depth}", "x", role=role, entries=told, tokens=tokens, depth=depth)

    def exchange() -> list[dict[str, Any]]:
        names = [f"c{next(ids)}" for _ in range(draw(st.integers(1, 3)))]
        return [calling(*names), *map(result, names)]

    def hidden() -> list[dict[str, Any]]:
        return [entry for _ in range(draw(st.integers(0, 2))) for entry in exchange()]

    def group(kind: str) -> list[Node]:
        if kind == "user":
            return [node(Role.USER, {"role": "user", "content": "hi"})]
        if kind == "application":
            return [node(Role.SYSTEM, {"role": "user", "content": "System Alert: Be brief."})]
        if kind == "reply":
            return [node(Role.ASSISTANT, *hidden(), {"role": "assistant", "content": "ho"})]
        call, *results = exchange()
        return [
            node(Role.ASSISTANT, *hidden(), call),
            *(node(Role.TOOL, each) for each in results),
        ]

    kinds = st.sampled_from(["user", "application", "reply", "calls"])
    return Held([group(kind) for kind in draw(st.lists(kinds, min_size=1, max_size=10))])


def assert_paired(entries: Iterable[dict[str, Any]]) -> None:
    """Every result answers a call of the message before, and every call has its result."""
    waiting: list[str] = []
    for entry in entries:
        if entry["role"] == "tool":
            waiting.remove(entry["tool_call_id"])
        else:
            assert waiting == []
            waiting = [call["id"] for call in entry.get("tool_calls") or ()]
    assert waiting == []


def entries_of(held: Iterable[Node]) -> list[dict[str, Any]]:
    return [entry for node in held for entry in json.loads(node.entries)]


@given(held=queues(), keep=st.integers(-10, 600))
def test_whole_groups_are_evicted(held: Held, keep: int) -> None:
    evicting = Queue(queue("m0", start=0), held.nodes)
    evicted = evicting.evict(keep)
    assert evicted + evicting.nodes == held.nodes
    assert_paired(entries_of(evicted))
    assert_paired(entries_of(evicting.nodes))
    starts = list(accumulate((len(group) for group in held.groups), initial=0))
    assert len(evicted) in starts[:-1]
    assert evicting.nodes[-len(held.groups[-1]) :] == held.groups[-1]
    sizes = [sum(node.tokens for node in held.nodes[start:]) for start in starts[:-1]]
    fitting = [start for start, size in zip(starts, sizes, strict=False) if size <= keep]
    assert len(evicted) == (fitting[0] if fitting else starts[-2]), "no more than needed"


@given(held=queues(), keeps=st.lists(st.integers(0, 600), max_size=4))
def test_evicting_again_and_again_is_evicting_once(held: Held, keeps: list[int]) -> None:
    once, several = (Queue(queue("m0", start=0), held.nodes) for _ in range(2))
    evicted = [node for keep in keeps for node in several.evict(keep)]
    assert evicted == (once.evict(min(keeps)) if keeps else [])
    assert several.nodes == once.nodes


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
