"""What an export has, as the memory it is for would have made it; no memory has a circle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from memgpt_proxy.memory.carrying import records_for
from memgpt_proxy.stores.lines import Head, Malformed, head_line, kind_of, last_line, record_line
from memgpt_proxy.stores.portable import Portable
from memgpt_proxy.stores.records import Namespace, NodeId
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import ALICE, BOB, EPOCH, branch, queue

FIRST, SECOND = branch(["hi", "hello"])


def taken(records: Sequence[Portable], namespace: Namespace) -> list[Portable]:
    """What Alice's export of these records brings to a memory."""
    head = head_line(Head(owner_of(ALICE), EPOCH, ALICE))
    end = last_line(Counter(map(kind_of, records)))
    return records_for([head, *map(record_line, records), end], owner_of(namespace), namespace)


@pytest.fixture(params=[ALICE, BOB], ids=["where it was", "elsewhere"])
def namespace(request: pytest.FixtureRequest) -> Namespace:
    return Namespace(request.param)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_branch_and_its_queue_are_taken(namespace: Namespace, start: int) -> None:
    """One that starts behind the last message is empty."""
    assert len(taken([queue("m1", start), FIRST, SECOND], namespace)) == 3


def test_what_hangs_on_a_message_elsewhere_is_taken(namespace: Namespace) -> None:
    assert len(taken([SECOND], namespace)) == 1


@pytest.mark.parametrize(
    "nodes",
    [
        [replace(FIRST, parent=FIRST.id)],
        [replace(FIRST, parent=FIRST.id, depth=2**30)],
        [replace(FIRST, parent=SECOND.id), SECOND],
        [replace(FIRST, parent=SECOND.id, depth=2), SECOND],
        [replace(FIRST, depth=1), SECOND],
    ],
    ids=["itself", "itself, deep", "a circle", "a circle, deep", "none that is earlier"],
)
def test_messages_that_hang_on_no_earlier_one_are_refused(
    namespace: Namespace, nodes: Sequence[Portable]
) -> None:
    with pytest.raises(Malformed, match="hangs on itself, or a later one"):
        taken(nodes, namespace)


def test_a_queue_that_begins_behind_its_message_is_refused(namespace: Namespace) -> None:
    with pytest.raises(Malformed, match="begins behind its message"):
        taken([FIRST, queue(FIRST.id, start=2)], namespace)


def test_two_of_one_name_are_refused(namespace: Namespace) -> None:
    with pytest.raises(Malformed, match="two records of one name"):
        taken([FIRST, replace(SECOND, id=FIRST.id, parent=NodeId("x"))], namespace)
