"""Changes survive being written down."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.stores.changes import Change, Committed, Edited, Inserted, Shown, Uncertain
from memgpt_proxy.stores.codec import NewerForm, decode, encode
from memgpt_proxy.stores.records import (
    Conversation,
    Counts,
    Fork,
    Node,
    NodeId,
    Passage,
    QueueState,
    Role,
    TurnRecord,
    WorkingContext,
)
from tests.stores.build import message, passage

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
number = st.integers(0, 2**40)
time = st.floats(0, 1e11)
nodes = st.builds(
    Node,
    **dict.fromkeys("id key content parent text entries queue turn".split(), text),
    depth=number,
    role=st.sampled_from(Role),
    tokens=number,
    created=time,
    context_version=number,
    complete=st.booleans(),
    abandoned=st.booleans(),
)
contexts = st.builds(WorkingContext, version=number, content=text)
counts = st.builds(Counts, messages=number, passages=number)
queues = st.builds(QueueState, text, number, text, contexts, counts)
names = st.lists(text, max_size=3)
forks = st.builds(Fork, names.map(tuple), names.map(tuple), st.none() | text)
records = st.builds(
    TurnRecord,
    nodes=st.lists(nodes, max_size=3),
    queues=st.lists(queues, max_size=2),
    fork=st.none() | forks,
    conversation=st.none() | st.builds(Conversation, text, text, st.booleans()),
    lineage=names.map(tuple),
    created=time,
    waited=st.booleans(),
    unplaced=st.booleans(),
)
passages = st.builds(Passage, text, text, time, text, text)
changes = st.one_of(
    st.builds(Committed, records),
    st.builds(Inserted, st.lists(passages, max_size=3)),
    st.builds(Shown, names, st.booleans()),
    st.builds(Edited, contexts),
    st.builds(Uncertain),
)


@given(changes)
def test_a_change_comes_back(change: Change) -> None:
    assert decode(encode(change)) == change


def test_what_cannot_be_stored_is_replaced() -> None:
    change = Committed(TurnRecord(nodes=[message("m", "half \ud83d of a pair")]))
    kept = decode(encode(change))
    assert isinstance(kept, Committed)
    assert kept.record.nodes == [
        message("m", "half \ufffd of a pair", content="says half \ufffd of a pair")
    ]
    inserted = decode(encode(Inserted([passage("p", "\udfff")])))
    assert inserted == Inserted([passage("p", "\ufffd")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"committed": {}}',
        b'{"committed": []}',
        b'{"edited": {"context": 3}}',
        b"{",
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError) as refused:
        decode(data)
    assert not isinstance(refused.value, NewerForm)


@given(changes, st.data())
def test_what_has_more_to_it_is_known_to_be_of_a_newer_release(
    change: Change, data: st.DataObject
) -> None:
    """Whichever of its objects has an attribute that no release had before."""
    content = orjson.loads(encode(change))
    data.draw(st.sampled_from([*objects(content)]))["of a newer release"] = 1
    with pytest.raises(NewerForm):
        decode(orjson.dumps(content))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Give a JSON value's objects, itself among them."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from objects(each)


def test_a_kind_that_no_release_had_before_is_of_a_newer_one() -> None:
    with pytest.raises(NewerForm):
        decode(b'{"forgotten": {"turns": []}}')


def test_a_node_id_is_a_text() -> None:
    change = decode(encode(Committed(TurnRecord(lineage=[NodeId("a")]))))
    assert isinstance(change, Committed)
    assert change.record.lineage == ("a",)
