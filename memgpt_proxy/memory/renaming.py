"""The records of one namespace as another would have made them: for an import.

A message's names are hashes that its namespace goes into; so a client of another key, which resends
its history, finds it by other names. They are made anew from the roots on. A name that is no such
hash (a response's, which is drawn before it has words) stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from memgpt_proxy.memory.transcript import node_id
from memgpt_proxy.stores.portable import ContextVersion, Portable, StoredPassage
from memgpt_proxy.stores.records import (
    ContentId,
    Conversation,
    Namespace,
    Node,
    NodeId,
    QueueState,
)


class Renaming:
    """New names for old ones.

    Args:
        nodes: All messages of the old namespace.
        old: The namespace that their names are made with.
        new: The one that they are to be made with.
    """

    def __init__(self, nodes: Iterable[Node], old: Namespace, new: Namespace) -> None:
        self._old = old
        self._new = new
        self._names: dict[NodeId, NodeId] = {}
        self._keys: dict[NodeId, NodeId] = {}
        for node in sorted(nodes, key=_depth):  # what a message hangs on comes before it
            self._add(node)

    def name(self, old: NodeId) -> NodeId:
        """Return the new name of a message; that of a conversation is the same in all."""
        return self._names.get(old, old)

    def of(self, record: Portable) -> Portable:
        """Return a record with new names."""
        match record:
            case Node():
                return replace(
                    record,
                    id=self.name(record.id),
                    key=self._names[record.key],
                    parent=self.name(record.parent),
                    queue=self.name(record.queue),
                )
            case QueueState():
                return replace(record, node=self.name(record.node))
            case Conversation():
                return replace(record, tip=self.name(record.tip))
            case StoredPassage(passage=passage):
                return replace(record, passage=replace(passage, node=self.name(passage.node)))
            case ContextVersion():
                return replace(record, node=self.name(record.node))
            case _:
                assert_never(record)

    def _add(self, node: Node) -> None:
        above = (node.parent, self._keys.get(node.parent, node.parent))
        self._keys[node.id] = node.key
        key = self._hashed(node.key, above, node.content)
        if node.id == node.key:
            self._names[node.id] = key or node.id
            return
        self._names[node.id] = self._hashed(node.id, above, node.content) or node.id
        # A client that writes it otherwise finds it by likeness, and gets a key of its own then.
        self._names.setdefault(
            node.key, key or node_id(self._new, self.name(above[1]), node.content)
        )

    def _hashed(self, name: NodeId, above: Sequence[NodeId], content: ContentId) -> NodeId | None:
        """Return what a name becomes that is a hash over one of ``above`` and ``content``."""
        for before in above:
            if node_id(self._old, before, content) == name:
                return node_id(self._new, self.name(before), content)
        return None


def renamed(records: Sequence[Portable], old: Namespace, new: Namespace) -> list[Portable]:
    """Return records, in their order, as ``new`` would have made what ``old`` has."""
    if old == new:
        return list(records)
    naming = Renaming((each for each in records if isinstance(each, Node)), old, new)
    return [naming.of(record) for record in records]


def _depth(node: Node) -> int:
    return node.depth
