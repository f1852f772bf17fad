"""Records for the stores' tests, told by what matters in each."""

from collections.abc import Sequence
from dataclasses import replace

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import (
    NO_TURN,
    ROOT,
    ContentId,
    Counts,
    Namespace,
    Node,
    NodeId,
    Passage,
    QueueState,
    Role,
    TurnId,
    TurnRecord,
    WorkingContext,
)

ALICE = Namespace("alice")
BOB = Namespace("bob")

EPOCH = 1_700_000_000.0
"""The time of a branch's first message; the others follow one a second."""


def message(name: str, text: str = "", **changes: object) -> Node:
    """A node by itself, at depth 0 unless ``changes`` say otherwise; its key is its id."""
    values: dict[str, object] = {
        "id": NodeId(name),
        "key": changes.get("id", NodeId(name)),
        "content": ContentId(f"says {text}"),
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


def said_after(parent: Node | None, word: str, created: float, **changes: object) -> Node:
    """What is said after a message, or first; ids are the words from the root on."""
    name = NodeId(f"{parent.id if parent else ''}{word}")
    values = {
        "content": ContentId(word),
        "parent": parent.id if parent else ROOT,
        "depth": parent.depth + 1 if parent else 0,
        "queue": parent.queue if parent else name,
        "created": created,
    }
    return message(name, f"text {word}", **{**values, **changes})


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


def record(*nodes: Node, **changes: object) -> TurnRecord:
    """What a turn of these nodes leaves behind."""
    return TurnRecord(nodes=nodes, **changes)  # type: ignore[arg-type]


def renamed(node: Node, name: str, **changes: object) -> Node:
    """The same message under another name, which is its key too."""
    values = {"id": NodeId(name), "key": NodeId(name), **changes}
    return replace(node, **values)  # type: ignore[arg-type]


def queue(node: str, start: int, summary: str = "they met", **counts: int) -> QueueState:
    """The state of a queue that a flush left at ``node``."""
    return QueueState(
        node=NodeId(node),
        start=start,
        summary=summary,
        context=WorkingContext(3, "Name: Chad"),
        counts=Counts(counts.get("messages", 4), counts.get("passages", 2)),
    )


def passage(name: str, text: str, created: float = EPOCH, turn: TurnId = NO_TURN) -> Passage:
    """An archival passage."""
    return Passage(id=name, text=text, created=created, node=NodeId("m1"), turn=turn)


def ids(records: Sequence[Node]) -> list[NodeId]:
    """The names of nodes."""
    return [record.id for record in records]


async def kept(store: Store, namespace: Namespace, names: Sequence[str]) -> tuple[Node, ...]:
    """The messages of these names that a store has, in the order asked."""
    paths = [await store.path(namespace, NodeId(name), 1) for name in names]
    return tuple(node for path in paths for node in path)
