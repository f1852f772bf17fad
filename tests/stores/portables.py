"""Records of all kinds as Hypothesis makes them up, few names and words to have them meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from memgpt_proxy.stores.portable import ContextVersion, Portable, StoredPassage
from memgpt_proxy.stores.records import (
    ROOT,
    Conversation,
    Counts,
    Node,
    Passage,
    QueueState,
    Role,
    WorkingContext,
)
from tests.stores.asking import named

texts = st.sampled_from(["", "alpha", "alpha beta", "beta\nalpha gamma", "alpha-7", "Grüße «7»"])
names = st.sampled_from("abcdefg")
few = st.integers(0, 5)
times = st.sampled_from([1e9, 1e9 + 0.1, 1_700_000_000.123456, 1_700_000_001.0])
turns = st.sampled_from(["", "s", "t"])
contexts = st.builds(WorkingContext, few, texts)
nodes = st.builds(
    Node,
    id=names,
    key=names,
    content=names,
    parent=st.sampled_from(["", *"abcdefg"]),
    depth=few,
    role=st.sampled_from(Role),
    text=texts,
    entries=texts,
    tokens=few,
    created=times,
    queue=names,
    context_version=few,
    turn=turns,
    complete=st.booleans(),
    abandoned=st.booleans(),
)
kinds: dict[type[Any], st.SearchStrategy[Any]] = {
    Node: nodes,
    QueueState: st.builds(QueueState, names, few, texts, contexts, st.builds(Counts, few, few)),
    StoredPassage: st.builds(
        StoredPassage, st.builds(Passage, names, texts, times, names, turns), st.booleans()
    ),
    Conversation: st.builds(Conversation, names, names, st.booleans()),
}


def _history(contents: list[tuple[str, str, str]]) -> list[Portable]:
    return [ContextVersion(at, *made) for at, made in enumerate(contents, 1)]  # type: ignore[arg-type]


histories = st.lists(st.tuples(texts, names, turns), max_size=3).map(_history)


@st.composite
def memories(draw: st.DrawFn) -> list[Portable]:
    """What an owner may have: each name once in its kind."""
    some = draw(st.lists(st.one_of(*kinds.values()), max_size=14, unique_by=named))
    return [*some, *draw(histories)]


def grown(records: list[Portable]) -> list[Portable]:
    """The same records, their nodes in trees: a name is a hash over what was before it."""
    grown: dict[str, Node] = {}
    for node in sorted((each for each in records if isinstance(each, Node)), key=_name):
        above = grown.get(node.parent)
        parent, depth = (above.id, above.depth + 1) if above else (ROOT, 0)
        grown[node.id] = replace(node, parent=parent, depth=depth)
    others = [each for each in records if not isinstance(each, Node)]
    return [*others, *grown.values()]


def _name(node: Node) -> str:
    return node.id
