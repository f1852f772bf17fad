"""A memory's messages under another namespace's names."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory.renaming import renamed
from memgpt_proxy.memory.transcript import chain, node_id, root_of
from memgpt_proxy.stores.portable import ContextVersion, Portable, StoredPassage
from memgpt_proxy.stores.records import (
    NO_TURN,
    ROOT,
    ContentId,
    Conversation,
    Namespace,
    Node,
    NodeId,
)
from tests.stores.build import message, passage, queue

OLD, NEW = Namespace("old"), Namespace("new")
FIRST, REPLY, NEXT = map(ContentId, ("first", "reply", "next"))


def tree(namespace: Namespace, growth: list[tuple[int, str]], root: NodeId) -> list[Node]:
    """Messages that each hang on an earlier one, or on the root: as a namespace names them."""
    nodes: list[Node] = []
    for at, content in growth:
        above = nodes[at % len(nodes)] if nodes and at else None
        name = node_id(namespace, above.id if above else root, ContentId(content))
        parent, depth = (above.id, above.depth + 1) if above else (root, 0)
        node = message(
            name,
            content=ContentId(content),
            parent=parent,
            depth=depth,
            queue=parent,
            entries="[]",
        )
        if name not in {each.id for each in nodes}:
            nodes.append(node)
    return nodes


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), max_size=12),
    st.sampled_from([ROOT, root_of("named")]),
    st.randoms(use_true_random=False),
)
def test_names_are_those_that_the_other_would_give(growth, root, random) -> None:
    nodes, expected = tree(OLD, growth, root), tree(NEW, growth, root)
    assert renamed(nodes, OLD, NEW) == expected
    order = list(range(len(nodes)))
    random.shuffle(order)
    assert renamed([nodes[at] for at in order], OLD, NEW) == [expected[at] for at in order]
    assert renamed(expected, NEW, OLD) == nodes


def test_everything_that_names_a_message_follows() -> None:
    (old,), (new,) = chain(OLD, [FIRST], ROOT), chain(NEW, [FIRST], ROOT)
    kept = passage("p", "x")

    def named(name: NodeId) -> list[Portable]:
        return [
            ContextVersion(1, "x", name, NO_TURN),
            queue(name, start=0),
            message(name, content=FIRST, queue=name, entries="[]"),
            StoredPassage(replace(kept, node=name), hidden=False),
            Conversation(root_of("name"), name, resends=True),
        ]

    assert renamed(named(old), OLD, NEW) == named(new)
    assert renamed(named(old), OLD, OLD) == named(old)


def test_a_drawn_name_stays_and_its_key_follows() -> None:
    first, key = chain(OLD, [FIRST, REPLY], ROOT)
    behind = node_id(OLD, NodeId("drawn"), NEXT)
    nodes = [
        message(first, content=FIRST),
        message("drawn", key=key, content=REPLY, parent=first, depth=1),
        # Gone on from by its name, and by a history that is sent along.
        message(behind, content=NEXT, parent=NodeId("drawn"), depth=2),
        message("other", key=node_id(OLD, key, NEXT), content=NEXT, parent="drawn", depth=2),
    ]
    one, two, three = chain(NEW, [FIRST, REPLY, NEXT], ROOT)
    after = renamed(nodes, OLD, NEW)
    assert [(node.id, node.key) for node in after if isinstance(node, Node)] == [
        (one, one),
        ("drawn", two),
        (node_id(NEW, NodeId("drawn"), NEXT),) * 2,
        ("other", three),
    ]


def test_a_conversation_that_opens_like_another_is_found_by_the_same_key() -> None:
    (key,), (new,) = chain(OLD, [FIRST], ROOT), chain(NEW, [FIRST], ROOT)
    twin = node_id(OLD, NodeId("2024-02-07"), FIRST)
    nodes = [message(key, content=FIRST), message(twin, key=key, content=FIRST)]
    one, other = renamed(nodes, OLD, NEW)
    assert isinstance(one, Node)
    assert isinstance(other, Node)
    assert (one.id, one.key) == (new, new)
    assert (other.id, other.key) == (twin, new)


def test_what_a_client_wrote_otherwise_is_found_as_it_was_said() -> None:
    first, _ = chain(OLD, [FIRST, REPLY], ROOT)
    trimmed = node_id(OLD, first, ContentId("trimmed"))
    reply = message(node_id(OLD, first, REPLY), key=trimmed, content=REPLY, parent=first, depth=1)
    _, after = renamed([message(first, content=FIRST), reply], OLD, NEW)
    assert isinstance(after, Node)
    assert after.key == after.id == chain(NEW, [FIRST, REPLY], ROOT)[1]
