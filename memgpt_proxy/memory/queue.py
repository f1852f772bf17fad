"""The FIFO queue: what the model still sees of a conversation, newest last.

It begins with the recursive summary of everything evicted before (the paper,
section 2.2). What is evicted stays in recall storage.
"""

from __future__ import annotations

from dataclasses import dataclass

from memgpt_proxy.stores.records import (
    Counts,
    Node,
    NodeId,
    QueueState,
    Role,
    WorkingContext,
)


@dataclass(slots=True)
class Queue:
    """The queue of one branch during one turn.

    Attributes:
        state: Where it starts and what was evicted before.
        nodes: The messages in it, oldest first.
        changed: Whether ``state`` is new and has to be stored.
    """

    state: QueueState
    nodes: list[Node]
    changed: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of all messages in the queue, uncalibrated and without the summary."""
        return sum([node.tokens for node in self.nodes])  # asked often: a generator takes longer

    def evict(self, keep: int, room: int = 0) -> list[Node]:
        """Remove and return the oldest messages, so that ``keep`` tokens at most remain.

        Whole groups only: a client's tool call and its results are never parted. The
        newest group always stays. The result is empty where nothing can go.

        Args:
            room: Tokens that may remain for the sake of the user's newest words, without
                which what tools have answered since is no help.
        """
        users = (index for index, node in enumerate(self.nodes) if node.role is Role.USER)
        asked = max(users, default=None)
        border, remaining = 0, self.tokens
        for index, node in enumerate(self.nodes):
            if node.role is not Role.TOOL:
                border = index
                if remaining <= keep or (index == asked and remaining <= room):
                    break
            remaining -= node.tokens
        evicted, self.nodes = self.nodes[:border], self.nodes[border:]
        return evicted

    def flushed(self, at: NodeId, summary: str, context: WorkingContext, counts: Counts) -> None:
        """Begin anew at the oldest message left, with what is known by now.

        Args:
            at: The newest message: the state holds from there on.
            summary: The recursive summary, with what was evicted folded in.
        """
        start = self.nodes[0].depth if self.nodes else self.state.start
        self.state = QueueState(at, start, summary, context, counts)
        self.changed = True
