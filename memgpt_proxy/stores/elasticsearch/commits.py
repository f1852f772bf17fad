"""Writing what a turn leaves behind.

Queue states come first, then nodes, parents first, and the conversation last: where a request
breaks off, nothing hangs on what is not there, and a repeat completes it. What is there already is
read back, merged by the rule of all stores, and written if nobody else has written it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import Access
from memgpt_proxy.stores.elasticsearch.bulk import Action, Outcome
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.documents import CONVERSATION, NODE, QUEUE
from memgpt_proxy.stores.elasticsearch.lookups import Found, Wanted
from memgpt_proxy.stores.elasticsearch.names import document_id
from memgpt_proxy.stores.merging import merged
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import (
    MOST_LINEAGE,
    Known,
    Node,
    NodeId,
    Owner,
    TurnRecord,
)
from memgpt_proxy.stores.storable import clean

Json = dict[str, Any]

MOST_ATTEMPTS = 10
"""Times that a document is merged anew, since others write it too."""

LINEAGE_EVERY = 8
"""Of a long record each so-many-th node names those before it, as the last does."""


@dataclass(frozen=True, slots=True)
class Item:
    """One document of a record.

    Attributes:
        wanted: Where it is.
        how: ``create``, ``index`` or ``update``.
        source: As it is written where there is none.
        merge: What is written over a stored document; None leaves that as it is.
    """

    wanted: Wanted
    how: str
    source: Json
    merge: Callable[[Json], Json | None]

    def action(self, owner: Owner) -> Action:
        """Return its write."""
        name = document_id(owner, self.wanted.kind, self.wanted.name)
        return Action(self.how, self.wanted.index, name, self.source)

    def again(self, owner: Owner, found: Found | None) -> Action | None:
        """Return its write over what was found; None where there is nothing to write."""
        if found is None:
            return self.action(owner)
        source = self.merge(found.source)
        if source is None:
            return None
        name = document_id(owner, self.wanted.kind, self.wanted.name)
        return Action("index", self.wanted.index, name, source, found.seen)


async def prepare(access: Access, clock: Clock, owner: Owner, record: TurnRecord) -> list[Item]:
    """Return a record's documents in the order in which they are to be written.

    Raises StoreError for a record that cannot be stored, before anything is.
    """
    if record.unplaced and record.nodes:
        record = await _placed(access, owner, record)
    return list(_items(access.names.transcript, clock, owner, record))


async def _placed(access: Access, owner: Owner, record: TurnRecord) -> TurnRecord:
    """Give the nodes the queue and context version of the message that the first hangs on."""
    above = Wanted(access.names.transcript, NODE, record.nodes[0].parent)
    (found,) = await access.get(owner, [above])
    if found is None:
        return record
    parent = documents.node(found.source)
    flushed = {state.node for state in record.queues}
    nodes = [
        replace(
            node,
            queue=node.queue if node.queue in flushed else parent.queue,
            context_version=parent.context_version,
        )
        for node in record.nodes
    ]
    return replace(record, nodes=nodes)


def _items(index: str, clock: Clock, owner: Owner, record: TurnRecord) -> Iterator[Item]:
    """Yield a record's documents: queue states, nodes, conversation."""
    flushed = {state.node: state for state in record.queues}
    for state in flushed.values():
        source = documents.of_queue(owner, state, record.created, clock.now())
        yield _replacing(Wanted(index, QUEUE, state.node), source, waited=record.waited)
    yield from _node_items(index, clock, owner, record, flushed)
    if (named := record.conversation) is not None:
        source = documents.of_conversation(owner, named, record.created, clock.now())
        yield _replacing(Wanted(index, CONVERSATION, named.name), source, waited=record.waited)


def _node_items(
    index: str, clock: Clock, owner: Owner, record: TurnRecord, flushed: Collection[NodeId]
) -> Iterator[Item]:
    """Yield a record's nodes, and those known ones that get a queue state."""
    lineages = lineages_of(record.nodes, record.lineage)
    for node in record.nodes:
        lineage = lineages.get(node.id, ())
        if node.id in flushed:
            node = replace(node, queue=node.id)
        yield _node_item(index, clock.now(), owner, node, lineage, own=node.id in flushed)
    known = {node.id for node in record.nodes}
    for name in flushed:
        if name not in known:
            yield _queue_of_known(Wanted(index, NODE, name), clock.now())


def _node_item(
    index: str, stored: int, owner: Owner, node: Node, lineage: Sequence[NodeId], *, own: bool
) -> Item:
    """Return the write of a node, which is live; ``own``: its queue state is of this record."""
    live = replace(node, abandoned=False) if node.abandoned else node

    def merge(source: Json) -> Json | None:
        known = documents.node(source)
        after = merged(known, live)
        if own:
            after = replace(after, queue=known.id)
        if after == known:
            return None
        return {**source, **documents.changes_of_node(after), "written": stored}

    source = documents.of_node(owner, live, stored, lineage)
    return Item(Wanted(index, NODE, node.id), "create", source, merge)


def _replacing(wanted: Wanted, source: Json, *, waited: bool) -> Item:
    """Return what replaces a stored one, unless it had to wait and that was made later."""

    def merge(stored: Json) -> Json | None:
        return None if stored["made"] > source["made"] else source

    return Item(wanted, "create" if waited else "index", source, merge)


def _queue_of_known(wanted: Wanted, stored: int) -> Item:
    """Return what makes a known node name its own queue state."""
    changes: Json = {"queue": clean(wanted.name)}
    source = {"node": changes, "written": stored}
    return Item(wanted, "update", source, lambda known: {**known, "node": known["node"] | changes})


def lineages_of(
    nodes: Sequence[Node], lineage: Sequence[NodeId]
) -> dict[NodeId, tuple[NodeId, ...]]:
    """Return of some nodes the names of those before them, nearest first.

    Args:
        nodes: Parents before their children.
        lineage: What the first of them hangs on, and those before that.
    """
    before: dict[NodeId, tuple[NodeId, ...]] = {}
    for node in nodes:
        if node.depth == 0:
            before[node.id] = ()
        elif node.parent in before:
            above = (node.parent, *before[node.parent])
            before[node.id] = above[:MOST_LINEAGE]
        elif lineage and node.parent == lineage[0]:
            before[node.id] = tuple(lineage[:MOST_LINEAGE])
        else:
            before[node.id] = (node.parent,)
    kept = {node.id for node in (*nodes[LINEAGE_EVERY - 1 :: LINEAGE_EVERY], *nodes[-1:])}
    return {name: names for name, names in before.items() if name in kept and len(names) > 1}


async def write(access: Access, owner: Owner, wanted: Sequence[Item]) -> Known:
    """Write documents, in order, and those that are there already by what they merge to.

    Returns which nodes were there already, if only by an attempt whose answer was lost.

    Raises StoreUnavailable or StoreError for the first that was not written.
    """
    left = [(item, item.action(owner)) for item in wanted]
    known: list[NodeId] = []
    for _ in range(MOST_ATTEMPTS):
        outcomes = await access.write(owner, [action for _, action in left])
        conflicting = _conflicting([item for item, _ in left], outcomes)
        known += [NodeId(item.wanted.name) for item in conflicting if item.wanted.kind == NODE]
        found = await access.get(owner, [item.wanted for item in conflicting])
        again = zip(conflicting, found, strict=True)
        actions = ((item, item.again(owner, known)) for item, known in again)
        left = [(item, action) for item, action in actions if action is not None]
        if not left:
            return tuple(known)
    raise StoreUnavailable("others write the same records all the time")


def _conflicting(items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Item]:
    """Return those that are there already, or have changed. Raises the first other failure."""
    conflicting = []
    for item, outcome in zip(items, outcomes, strict=True):
        if outcome.conflicts:
            conflicting.append(item)
        elif not (item.how == "update" and outcome.missing):
            outcome.raise_failure()
    return conflicting
