"""The sums by which two stores are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.stores.portable import ContextVersion, Portable, StoredPassage
from memgpt_proxy.stores.records import Conversation, Node, NodeId, Owner, QueueState
from memgpt_proxy.stores.tally import Tally
from tests.stores.portables import memories

ONE, OTHER = Owner("1"), Owner("2")


def counted(records: list[Portable], owner: Owner = ONE) -> Tally:
    tally = Tally()
    tally.add(owner, records)
    return tally


@given(memories(), st.randoms())
def test_the_order_does_not_count(records: list[Portable], random: Any) -> None:
    other = list(records)
    random.shuffle(other)
    parts = Tally()
    for record in other:
        parts.join(counted([record]))
    assert parts == counted(records)
    assert parts.differing(counted(records)) == []
    assert parts.records == len(records)


def changed(record: Portable) -> Portable:
    match record:
        case Node():
            return replace(record, abandoned=not record.abandoned)
        case QueueState():
            return replace(record, summary=f"{record.summary}.")
        case Conversation():
            return replace(record, tip=NodeId("another"))
        case StoredPassage():
            return replace(record, hidden=not record.hidden)
        case ContextVersion():
            return replace(record, content=f"{record.content}.")


@given(memories().filter(bool), st.data())
def test_every_change_counts(records: list[Portable], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    others = [*records[:at], changed(records[at]), *records[at + 1 :]]
    assert len(counted(records).differing(counted(others))) == 1
    missing = [*records[:at], *records[at + 1 :]]
    assert len(counted(records).differing(counted(missing))) == 1
    twice = [*missing, missing[0]] if missing else []
    assert counted(records).differing(counted(twice))


@given(memories().filter(bool))
def test_whose_records_they_are_counts(records: list[Portable]) -> None:
    assert counted(records).differing(counted(records, OTHER))
