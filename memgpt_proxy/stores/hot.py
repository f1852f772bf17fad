"""The hot state of namespaces in use, in process, in front of the embedded store.

A turn on a warm namespace reads nothing from disk. Messages never change once they are
stored; the working context does, and only through here: one process owns an embedded
store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from memgpt_proxy.stores.protocols import StaleVersion, Store
from memgpt_proxy.stores.records import (
    Counts,
    Namespace,
    Node,
    NodeId,
    Page,
    Passage,
    QueueState,
    TurnState,
    WorkingContext,
)

_OVERHEAD_BYTES = 600
"""What a node takes in memory beside its texts."""


@dataclass(slots=True)
class _Hot:
    """What is known of one namespace."""

    context: WorkingContext
    counts: Counts
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    queues: dict[NodeId, QueueState] = field(default_factory=dict)
    size: int = 0

    def add(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            known = self.nodes.get(node.id)
            if known is None:
                self._keep(node)
            elif node.complete and not known.complete:
                self.size -= _size(known)
                self._keep(replace(known, entries=node.entries, tokens=node.tokens, complete=True))

    def _keep(self, node: Node) -> None:
        if node.id in self.queues:
            node = replace(node, queue=node.id)
        self.nodes[node.id] = node
        self.size += _size(node)

    def add_queue(self, state: QueueState) -> None:
        if state.node not in self.queues:
            self.size += len(state.summary) + len(state.context.content) + _OVERHEAD_BYTES
        self.queues[state.node] = state
        if (node := self.nodes.get(state.node)) is not None:
            self.nodes[state.node] = replace(node, queue=state.node)

    def read_turn(self, chain: Sequence[NodeId], enough: int) -> TurnState | None:
        """Return what a turn needs, or None where the store has to be asked."""
        known = len(chain)
        while known >= max(enough, 1) and chain[known - 1] not in self.nodes:
            known -= 1
        if known < enough:
            return None
        if known == 0:
            return TurnState(0, (), None, self.context, self.counts)
        queue = self.queues.get(self.nodes[chain[known - 1]].queue)
        if queue is None:
            return None
        nodes = [self.nodes.get(node) for node in chain[queue.start : known]]
        found = tuple(node for node in nodes if node is not None)
        if len(found) < len(nodes):
            return None
        return TurnState(known, found, queue, self.context, self.counts)


class HotStore:
    """A store that remembers what turns read and write, up to a size.

    Args:
        store: The store behind it; every write goes there first.
        max_bytes: Bound on what is remembered; the namespaces used last stay.
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._spaces: OrderedDict[Namespace, _Hot] = OrderedDict()
        self._size = 0

    async def open(self) -> None:
        """Open the store behind."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store behind."""
        await self._store.close()

    async def ping(self) -> None:
        """Ask the store behind."""
        await self._store.ping()

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """Read a turn, from memory if everything it needs is there."""
        if (hot := self._spaces.get(namespace)) is not None:
            self._spaces.move_to_end(namespace)
            if (state := hot.read_turn(chain, enough)) is not None:
                return state
        state = await self._store.read_turn(namespace, chain, enough=enough)
        return self._learn(namespace, state)

    async def nodes(self, namespace: Namespace, ids: Sequence[NodeId]) -> tuple[Node, ...]:
        """Ask the store behind."""
        return await self._store.nodes(namespace, ids)

    async def commit(
        self, namespace: Namespace, nodes: Sequence[Node], queues: Sequence[QueueState]
    ) -> None:
        """Store, then remember."""
        await self._store.commit(namespace, nodes, queues)
        if (hot := self._spaces.get(namespace)) is None:
            return
        before = hot.size
        new = sum(1 for node in nodes if node.text and node.id not in hot.nodes)
        hot.counts = replace(hot.counts, messages=hot.counts.messages + new)
        # A reply that was cut off may be known to the store whole: the next read will tell.
        hot.add([node for node in nodes if node.complete])
        for state in queues:
            hot.add_queue(state)
        self._grew(namespace, hot.size - before)

    async def search_messages(
        self, namespace: Namespace, query: str, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        return await self._store.search_messages(namespace, query, limit=limit, offset=offset)

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        return await self._store.messages_between(namespace, start, end, limit=limit, offset=offset)

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store, then count."""
        await self._store.insert_passages(namespace, passages)
        if (hot := self._spaces.get(namespace)) is not None:
            hot.counts = await self._store.counts(namespace)

    async def search_passages(
        self, namespace: Namespace, query: str, *, limit: int, offset: int
    ) -> Page:
        """Ask the store behind."""
        return await self._store.search_passages(namespace, query, limit=limit, offset=offset)

    async def context(self, namespace: Namespace) -> WorkingContext:
        """Return the working context, from memory if it is there."""
        hot = self._spaces.get(namespace)
        return hot.context if hot else await self._store.context(namespace)

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        """Ask the store behind."""
        return await self._store.context_at(namespace, version)

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId
    ) -> WorkingContext:
        """Store, then remember; what was remembered is forgotten when it proves stale."""
        try:
            written = await self._store.write_context(namespace, expected, content, node)
        except StaleVersion:
            self._forget(namespace)
            raise
        if (hot := self._spaces.get(namespace)) is not None:
            hot.context = max(hot.context, written, key=_version)
        return written

    async def counts(self, namespace: Namespace) -> Counts:
        """Ask the store behind."""
        return await self._store.counts(namespace)

    def _learn(self, namespace: Namespace, state: TurnState) -> TurnState:
        hot = self._spaces.get(namespace)
        if hot is None:
            hot = self._spaces[namespace] = _Hot(state.context, state.counts)
            self._size += _OVERHEAD_BYTES
        # While the store was read, a write may have gone through here: the newer one counts.
        hot.context = max(hot.context, state.context, key=_version)
        before = hot.size
        hot.add(state.nodes)
        if state.queue is not None and state.queue.node not in hot.queues:
            hot.add_queue(state.queue)
        self._grew(namespace, hot.size - before)
        return replace(state, context=hot.context)

    def _grew(self, namespace: Namespace, by: int) -> None:
        self._size += by
        self._spaces.move_to_end(namespace)
        while self._size > self._max_bytes:
            self._forget(next(iter(self._spaces)))

    def _forget(self, namespace: Namespace) -> None:
        if (hot := self._spaces.pop(namespace, None)) is not None:
            self._size -= hot.size + _OVERHEAD_BYTES


def _size(node: Node) -> int:
    return len(node.text) + len(node.entries) + _OVERHEAD_BYTES


def _version(context: WorkingContext) -> int:
    return context.version
