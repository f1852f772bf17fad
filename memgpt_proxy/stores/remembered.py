"""What is known of one namespace, as its store has it: values only, no I/O.

It answers where it is sure, and says None where the store has to be asked. All writes
of the namespace come by here, so a node is known to be new where the store says so, where all
that follows its parent is known, or where the store was just asked for its name in vain. Of several
messages with one key the one committed last is taken to be the newest.

What grows too large is forgotten branch by branch, those first that were not gone on with
for longest.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from sys import getsizeof

from memgpt_proxy.stores.changes import Change, Committed, Edited, Inserted, Shown, Uncertain
from memgpt_proxy.stores.merging import merged
from memgpt_proxy.stores.records import (
    MOST_AFTER,
    ROOT,
    Conversation,
    Counts,
    Fork,
    Known,
    Node,
    NodeId,
    QueueState,
    TurnRecord,
    TurnState,
    WorkingContext,
)

OVERHEAD_BYTES = 600
"""What a namespace, a node or a queue state takes in memory beside its texts."""

_NAME_BYTES = 200
"""What a key or a conversation takes."""


KEPT_EVICTED = 256
"""Messages that the queue has evicted which are remembered still, for clients that send many."""

MOST_COMMITTED = 1000
"""Messages of one turn that are remembered, some 40 ms of work: mostly the queue has evicted
more than these at once."""

_Child = tuple[float, NodeId]
"""When a message was said, negative, and its name: the newest sorts first."""


@dataclass(slots=True)
class Remembered:
    """What is known of one namespace.

    Attributes:
        counts: None where a write has changed them, nobody knows by how much.
        nearly: What they were before that; None where they never were known.
        size: Bytes that all of it takes in memory, roughly.
        counted: The size when it was last added to that of all namespaces.
        newest: The message that a key stands for.
        children: Where it is known, all that follows a message, newest first.
        more: Messages that still others follow than ``children`` has: those are the newest.
        faded: Messages that ``children`` has, but ``nodes`` has not any more.
        followed: How many of ``nodes`` follow a message.
        tips: Those of ``nodes`` that none follows; the one used last comes last.
        openings: How many messages a key stands for, at most: none or one.
        conversations: By name; None where there is none of that name.
    """

    context: WorkingContext
    counts: Counts | None
    nearly: Counts | None = None
    size: int = OVERHEAD_BYTES
    counted: int = 0
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    queues: dict[NodeId, QueueState] = field(default_factory=dict)
    newest: dict[NodeId, NodeId] = field(default_factory=dict)
    children: dict[NodeId, list[_Child]] = field(default_factory=dict)
    more: set[NodeId] = field(default_factory=set)
    faded: set[NodeId] = field(default_factory=set)
    followed: Counter[NodeId] = field(default_factory=Counter)
    tips: dict[NodeId, None] = field(default_factory=dict)
    openings: dict[NodeId, int] = field(default_factory=dict)
    conversations: dict[NodeId, Conversation | None] = field(default_factory=dict)

    def read_turn(self, chain: Sequence[NodeId], enough: int) -> TurnState | None:
        """Return what a turn on ``chain`` needs; without counts where they are not known."""
        if not chain:
            return TurnState(0, (), None, self.context, self.counts)
        if chain[0] not in self.openings:
            return None
        for known in range(len(chain), max(enough, 1) - 1, -1):
            if (last := self.newest.get(chain[known - 1])) is not None:
                return self._turn_at(self.nodes[last], chain, known)
        if enough == 0 and len(chain) == 1 and self.openings[chain[0]] == 0:
            return TurnState(0, (), None, self.context, self.counts)
        return None

    def _turn_at(self, last: Node, chain: Sequence[NodeId], known: int) -> TurnState | None:
        queue = self.queues.get(last.queue)
        after = self.after(last.id)
        if after is None or (queue is None and last.queue != ROOT):
            return None
        if known < len(chain) and self._is_known(chain[known], after):
            return None
        start = queue.start if queue is not None else 0
        nodes = self.path(last.id, last.depth - start + 1)
        if nodes is None:
            return None
        self._use(last)
        return TurnState(known, nodes, queue, self.context, self.counts, after)

    def _is_known(self, key: NodeId, after: Sequence[Node]) -> bool:
        """Whether one of these has this key, or the key is the name of what was forgotten."""
        if key in self.nodes or key in self.faded:
            return True
        return key in [node.key for node in after]

    def path(self, name: NodeId, length: int) -> tuple[Node, ...] | None:
        """Return a message and those before it, ``length`` at most, oldest first."""
        path: list[Node] = []
        while len(path) < length:
            node = self.nodes.get(name)
            if node is None or (path and node.depth >= path[-1].depth):
                return None  # not known, or in a circle
            path.append(node)
            if node.depth == 0:
                break
            name = node.parent
        return tuple(reversed(path))

    def after(self, name: NodeId) -> tuple[Node, ...] | None:
        """Return what follows a message, nearest first, of equally near ones the newest."""
        found: list[Node] = []
        try:
            below = self.children[name][:MOST_AFTER]
            while below:
                level = [self.nodes[name] for _, name in below]
                found += level
                if len(found) >= MOST_AFTER:
                    break
                newest = [self.children[node.id][:MOST_AFTER] for node in level]
                below = sorted([child for children in newest for child in children])[:MOST_AFTER]
        except KeyError:  # not all of it is known
            return None
        return tuple(found[:MOST_AFTER])

    def learn(self, chain: Sequence[NodeId], state: TurnState) -> None:
        """Take in what the store has answered, if nothing was written meanwhile."""
        self.context = state.context
        if state.counts is not None:
            self.counts = state.counts
        self.learn_branch(chain, state)

    def learn_branch(self, chain: Sequence[NodeId], state: TurnState) -> None:
        """Take in an answer's messages, if nothing was written meanwhile that is about them."""
        if chain:
            self._forget_opening(chain[0])
        if chain and not state.shared:
            self._remember_opening(chain[0], 1 if state.known else 0)
        if state.queue is not None:
            self._keep_queue(state.queue)
        for node in state.nodes:
            self._keep(node)
        if state.known and state.nodes:
            self._learn_end(chain[state.known - 1], state.nodes[-1], state.after)

    def _learn_end(self, key: NodeId, last: Node, after: Sequence[Node]) -> None:
        self.newest[key] = last.id
        self._use(last)
        if len(after) == MOST_AFTER and after[-1].parent != last.id:
            return  # nobody knows which of them are followed by still others
        known = (last, *after) if len(after) < MOST_AFTER else (last,)
        for node in known:
            self._forget_children(node.id)
            self.children[node.id] = []
        for node in reversed(after):  # the newest is forgotten last
            self._keep(node)
            insort(self.children[node.parent], _child(node))
        if len(after) == MOST_AFTER:
            self.more.add(last.id)

    def forget_counts(self) -> None:
        """Know no more than what they nearly are."""
        self.nearly = self.counts or self.nearly
        self.counts = None

    def take_in(self, change: Change) -> bool:
        """Do what the store has done; return False where that cannot be told."""
        match change:
            case Committed(record, known):
                return self._take_in(record, known)
            case Edited(context):
                self.context = max(self.context, context, key=lambda each: each.version)
            case Inserted() | Shown():
                self.forget_counts()  # some may have been known; nobody knows how many
            case Uncertain():
                return False
        return True

    def _take_in(self, record: TurnRecord, known: Known) -> bool:
        """Take in a record, unless that takes longer than to ask the store again."""
        if len(record.nodes) > MOST_COMMITTED or record.waited:
            return False
        if record.fork is not None and not self._fork(record.fork):
            return False
        for node in self._placed(record.nodes) if record.unplaced else record.nodes:
            self._commit(node, known)
        for state in record.queues:
            self._keep_queue(state)
            if (own := self.nodes.get(state.node)) is not None:
                self.nodes[state.node] = replace(own, queue=state.node)
        if record.conversation is not None:
            self.know_conversation(record.conversation.name, record.conversation)
        for state in record.queues:
            self._forget_evicted(state)
        return True

    def _placed(self, nodes: Sequence[Node]) -> Sequence[Node]:
        """Return nodes with the place that the store gives them, if that is known."""
        before = self.nodes.get(nodes[0].parent) if nodes else None
        if before is None:
            return nodes
        queue, version = before.queue, before.context_version
        return [replace(node, queue=queue, context_version=version) for node in nodes]

    def _fork(self, fork: Fork) -> bool:
        """Leave one branch for another; return False where not all of it is known."""
        left = list(fork.left)
        for name in left:
            if name not in self.children or name in self.more:
                return False
            left += [child for _, child in self.children[name]]
        for name in left:
            if name not in fork.kept:
                self.nodes[name] = replace(self.nodes[name], abandoned=True)
        node = self.nodes.get(fork.taken_up) if fork.taken_up else None
        while node is not None:
            self.nodes[node.id] = replace(node, abandoned=False)
            node = self.nodes.get(node.parent)
        return True

    def _forget_evicted(self, state: QueueState) -> None:
        """Forget what the queue has evicted long since: a conversation may have no end."""
        node = self.nodes.get(state.node)
        while node is not None:
            above = self.nodes.get(node.parent)
            if node.depth < state.start - KEPT_EVICTED:
                self._forget(node)
            node = above

    def _forget(self, node: Node) -> None:
        """Forget a message, and that nothing else follows the one before it."""
        self._forget_children(node.parent)
        self._fade(node)

    def _fade(self, node: Node) -> None:
        """Forget a message, but not that it is there."""
        del self.nodes[node.id]
        self.size -= _node_size(node)
        self.tips.pop(node.id, None)
        self.followed[node.parent] -= 1
        if not self.followed[node.parent]:
            del self.followed[node.parent]
        if (queue := self.queues.pop(node.id, None)) is not None:
            self.size -= _queue_size(queue)
        self._forget_children(node.id)
        for key in {node.id, node.key}:
            self._forget_opening(key)
            if self.newest.get(key) == node.id:
                del self.newest[key]
        if node.parent in self.children:
            self.faded.add(node.id)
            self.size += _NAME_BYTES

    def _forget_children(self, name: NodeId) -> None:
        self.more.discard(name)
        for _, child in self.children.pop(name, ()):
            self._unfade(child)

    def _unfade(self, name: NodeId) -> None:
        if name in self.faded:
            self.faded.remove(name)
            self.size -= _NAME_BYTES

    def _use(self, node: Node) -> None:
        if node.id in self.tips:
            del self.tips[node.id]
            self.tips[node.id] = None

    def shed(self, most: int) -> None:
        """Forget branches, those gone on with least lately first, down to a size if possible."""
        while self.size > most and self.tips:
            self._shed(self.nodes[next(iter(self.tips))])

    def _shed(self, tip: Node) -> None:
        """Forget a branch, from its end to where another one leaves it."""
        node: Node | None = tip
        while node is not None:
            self._fade(node)
            if self.followed[node.parent]:
                return
            if node.parent in self.conversations:
                del self.conversations[node.parent]
                self.size -= _NAME_BYTES
            node = self.nodes.get(node.parent)

    def know_conversation(self, name: NodeId, conversation: Conversation | None) -> None:
        """Remember what there is of this name."""
        if name not in self.conversations:
            self.size += _NAME_BYTES
        self.conversations[name] = conversation

    def _commit(self, node: Node, known: Known) -> None:
        before = self.nodes.get(node.id)
        if before is not None:
            self._keep(merged(before, node))
        elif self._is_new(node, known):
            self._commit_new(replace(node, abandoned=False) if node.abandoned else node)
        else:
            self.newest.pop(node.id, None)
            self.newest.pop(node.key, None)
            if node.parent in self.more:
                self._forget_children(node.parent)
            self._count_matches(node)
            if node.text:
                self.forget_counts()

    def _is_new(self, node: Node, known: Known) -> bool:
        if known is None:
            told = node.parent in self.children and node.parent not in self.more
            unheard_of = told or self.openings.get(node.id) == 0
        else:
            unheard_of = node.id not in known
        return unheard_of and node.id not in self.queues and node.id not in self.faded

    def _commit_new(self, node: Node) -> None:
        self._keep(node)
        if not self.followed[node.id]:  # else others have gone on from it before we were told
            self.children[node.id] = []
        self._add_child(node)
        for key in (node.id, node.key):
            newest = self.newest.get(key)
            if newest is None or self.nodes[newest].created <= node.created:
                self.newest[key] = node.id
        self._remember_opening(node.id, self.openings.get(node.id, 0))
        self._count_matches(node)
        if node.text and self.counts is not None:
            self.counts = Counts(self.counts.messages + 1, self.counts.passages)

    def _add_child(self, node: Node) -> None:
        """Add a new message to those that follow one, if it is one of the newest."""
        siblings = self.children.get(node.parent)
        if siblings is None:
            return
        child = _child(node)
        if node.parent not in self.more or child < siblings[-1]:
            insort(siblings, child)

    def _count_matches(self, node: Node) -> None:
        for key in {node.id, node.key}:
            if self.openings.get(key) == 0:
                self.openings[key] = 1
            else:
                self._forget_opening(key)

    def _remember_opening(self, key: NodeId, most: int) -> None:
        if key not in self.openings:
            self.size += _NAME_BYTES
        self.openings[key] = most

    def _forget_opening(self, key: NodeId) -> None:
        if self.openings.pop(key, None) is not None:
            self.size -= _NAME_BYTES

    def _keep(self, node: Node) -> None:
        if (known := self.nodes.get(node.id)) is not None:
            self.size -= _node_size(known)
        else:
            self._unfade(node.id)
            self._follow(node)
        self.nodes[node.id] = node
        self.size += _node_size(node)

    def _follow(self, node: Node) -> None:
        self.followed[node.parent] += 1
        self.tips.pop(node.parent, None)
        if not self.followed[node.id]:
            self.tips[node.id] = None

    def _keep_queue(self, state: QueueState) -> None:
        if (known := self.queues.get(state.node)) is not None:
            self.size -= _queue_size(known)
        self.queues[state.node] = state
        self.size += _queue_size(state)


def _child(node: Node) -> _Child:
    return -node.created, node.id


def _node_size(node: Node) -> int:
    return getsizeof(node.text) + getsizeof(node.entries) + OVERHEAD_BYTES


def _queue_size(state: QueueState) -> int:
    return getsizeof(state.summary) + getsizeof(state.context.content) + OVERHEAD_BYTES
