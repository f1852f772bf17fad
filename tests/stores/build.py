"""Records for the stores' tests, told by what matters in each."""

from collections.abc import Sequence

from memgpt_proxy.stores.records import (
    ROOT,
    Counts,
    Namespace,
    Node,
    NodeId,
    Passage,
    QueueState,
    Role,
    WorkingContext,
)

ALICE = Namespace("alice")
BOB = Namespace("bob")

EPOCH = 1_700_000_000.0
"""The time of a branch's first message; the others follow one a second."""


def message(name: str, text: str = "", **changes: object) -> Node:
    """A node by itself, at depth 0 unless ``changes`` say otherwise."""
    values: dict[str, object] = {
        "id": NodeId(name),
        "parent": ROOT,
        "depth": 0,
        "role": Role.USER,
        "text": text,
        "entries": f'[{{"role":"user","content":"entry of {name}"}}]',
        "tokens": 7,
        "created": EPOCH,
        "queue": ROOT,
        "context_version": 0,
    }
    return Node(**{**values, **changes})  # type: ignore[arg-type]


def branch(texts: Sequence[str], prefix: str = "m") -> list[Node]:
    """A conversation from its root: ``m0``, ``m1``, … one second apart."""
    return [
        message(
            f"{prefix}{depth}",
            text,
            parent=NodeId(f"{prefix}{depth - 1}") if depth else ROOT,
            depth=depth,
            role=Role.ASSISTANT if depth % 2 else Role.USER,
            created=EPOCH + depth,
        )
        for depth, text in enumerate(texts)
    ]


def queue(node: str, start: int, summary: str = "they met", **counts: int) -> QueueState:
    """The state of a queue that a flush left at ``node``."""
    return QueueState(
        node=NodeId(node),
        start=start,
        summary=summary,
        context=WorkingContext(3, "Name: Chad"),
        counts=Counts(counts.get("messages", 4), counts.get("passages", 2)),
    )


def passage(name: str, text: str, created: float = EPOCH) -> Passage:
    """An archival passage."""
    return Passage(id=name, text=text, created=created, node=NodeId("m1"))


def ids(records: Sequence[Node]) -> list[NodeId]:
    """The names of nodes."""
    return [record.id for record in records]
