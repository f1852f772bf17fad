"""What a turn leaves behind, as records for the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memgpt_proxy.agent.opening import Opening
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.stores.records import MOST_LINEAGE, Node, NodeId, TurnRecord

FEW = 16
"""Messages of a history so few that all are stored where it is not known which of them are."""


def placed(opening: Opening, queue: Queue, reply: Node | None, now: float) -> TurnRecord:
    """Return what a turn leaves behind whose place in the tree is known."""
    nodes = [*opening.intake.nodes, *([reply] if reply else [])]
    tip = nodes[-1].id if nodes else opening.author.node
    # A queue that begins hangs on the reply: others may open with the same words.
    state = queue.state if queue.state.node else replace(queue.state, node=tip)
    return TurnRecord(
        nodes=nodes,
        queues=(state,) if queue.changed else (),
        fork=opening.fork,
        conversation=opening.conversation(tip),
        lineage=_lineage(queue.nodes, nodes),
        created=now,
    )


def unplaced(
    messages: Sequence[Node], history: int, reply: Node | None, now: float
) -> list[TurnRecord]:
    """Return what of a turn without memory may be new.

    A history of few messages is a record of its own, so that what follows it finds its place
    behind it, whether it was stored before or not.

    Args:
        messages: All that the client has sent.
        history: How many of them there are up to the last one that is a reply.
    """
    parts = [messages[:history]] if history <= FEW else []
    parts.append([*messages[history:], *([reply] if reply else [])])
    return [TurnRecord(nodes=part, created=now, unplaced=True) for part in parts if part]


def _lineage(queue: Sequence[Node], new: Sequence[Node]) -> tuple[NodeId, ...]:
    """Return what the first new message hangs on and what comes before that, nearest first."""
    if not new or new[0].depth == 0:
        return ()
    before = [node.id for node in queue if node.depth < new[0].depth]
    return tuple(before[-MOST_LINEAGE:][::-1])
