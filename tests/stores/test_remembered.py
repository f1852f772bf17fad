"""What is remembered of a namespace, by itself: what it takes in memory, and what it follows."""

from __future__ import annotations

from dataclasses import replace
from sys import getsizeof

import pytest

from memgpt_proxy.stores.changes import Committed
from memgpt_proxy.stores.records import NodeId, WorkingContext
from memgpt_proxy.stores.remembered import Remembered
from tests.stores.build import branch, message, queue, record


@pytest.mark.parametrize(
    "sentence",
    [
        "The quick brown fox jumps. ",
        "Съешь ещё этих мягких булок. ",
        "The quick brown 🦊 jumps. ",
    ],
)
def test_texts_count_for_the_bytes_that_they_take(sentence: str) -> None:
    text = sentence * 1000
    hot = Remembered(WorkingContext(0, ""), None)
    node = message("m0", text, entries=f'[{{"role":"user","content":"{text}"}}]')
    state = replace(queue("m0", 0, text), context=WorkingContext(1, text))
    sizes = [hot.size]
    for made in (record(node), record(queues=[state])):
        assert hot.take_in(Committed(made, ()))
        sizes.append(hot.size)
    first, with_node, with_queue = sizes
    assert with_node - first >= getsizeof(node.text) + getsizeof(node.entries)
    assert with_queue - with_node >= getsizeof(state.summary) + getsizeof(state.context.content)
    assert NodeId("m0") in hot.nodes


def test_no_circle_is_followed() -> None:
    """A memory may have been imported with one, by a release that did not look."""
    first, second = branch(["hi", "hello"])
    hot = Remembered(WorkingContext(0, ""), None)
    circle = replace(first, parent=second.id, depth=2)
    assert hot.take_in(Committed(record(circle, second), ()))
    assert hot.path(second.id, 99) is None
