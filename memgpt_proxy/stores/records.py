"""The records that stores keep: plain values, no I/O, no OpenAI type.

A *node* is one message of one conversation, named by a hash over its whole
history (see ``memgpt_proxy.memory.transcript``). Its *entries* are what stands
for it in the FIFO queue: the message as the model sees it, with the alerts in
front of it and, for a reply, the function calls and results that led to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from enum import StrEnum
from operator import add
from typing import NewType

from memgpt_proxy.values import dataclass

Namespace = NewType("Namespace", str)
"""What one API key (and, within it, one end user) owns. An opaque keyed hash."""

Owner = NewType("Owner", str)
"""What stands for a namespace in a store's records: the same in every family of stores."""

NodeId = NewType("NodeId", str)
"""Hash of namespace, parent, role and content: 32 hexadecimal digits."""

Known = tuple[NodeId, ...] | None
"""Which of a record's nodes were there before it was stored; None where that cannot be told."""

ROOT = NodeId("")
"""The parent of a conversation's first message, where the conversation has no name."""

ContentId = NewType("ContentId", str)
"""Hash of what a message says by itself: the same words have the same, wherever they stand."""

TurnId = NewType("TurnId", str)
"""Names a turn: what it wrote can be undone."""

NO_TURN = TurnId("")


class Role(StrEnum):
    """Who a message comes from, as the client's transcript says it."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Node:
    """One message in the transcript tree.

    Attributes:
        id: Name of the node, and its document id.
        key: What a resend is found by: a hash over the client's own words up to here. It
            is the id, except where a client writes history otherwise than we keep it,
            and where a conversation opens with the words of an older one.
        content: What it says, by itself.
        parent: The message before it, ``ROOT``, or the name of a named conversation.
        depth: Number of messages before it in its branch.
        role: Who said it.
        text: Its words, as recall storage finds them; empty for what nobody said, and
            for what recall storage has from another branch.
        entries: JSON array of the messages that stand for it in the FIFO queue.
        tokens: Tokens of ``entries``, uncalibrated.
        created: Seconds since the epoch.
        queue: Node at which the queue state in force after this message is kept.
        context_version: Version of the working context this branch has seen.
        turn: The turn that made it, for a reply.
        complete: False when the reply was cut off (client or backend went away).
        abandoned: Its branch was left for another one, and not gone on with since.
    """

    id: NodeId
    key: NodeId
    content: ContentId
    parent: NodeId
    depth: int
    role: Role
    text: str
    entries: str
    tokens: int
    created: float
    queue: NodeId
    context_version: int
    turn: TurnId = NO_TURN
    complete: bool = True
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class QueueState:
    """Where a branch's FIFO queue starts, and what was evicted before that.

    It holds from ``node`` on, until a later flush of the same branch. The
    working context and the counts are kept as they stood then, since the prompt
    shows them so until the next flush, so that the prompt stays cached.
    """

    node: NodeId
    start: int
    """Depth of the first message in the queue."""
    summary: str
    """The recursive summary of everything evicted; empty before the first flush."""
    context: WorkingContext
    counts: Counts


@dataclass(frozen=True, slots=True)
class WorkingContext:
    """The fixed-size read/write text in the prompt, at one version (0: never written)."""

    version: int
    content: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How much external context holds."""

    messages: int
    passages: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """How many records there are of an owner, by kind.

    Attributes:
        working_contexts: Versions of the working context.
        vectors: Of messages and passages.
    """

    messages: int = 0
    queue_states: int = 0
    conversations: int = 0
    passages: int = 0
    working_contexts: int = 0
    traces: int = 0
    vectors: int = 0

    def __add__(self, other: Holdings) -> Holdings:
        """Return what two owners have together."""
        return Holdings(*map(add, astuple(self), astuple(other)))

    @property
    def records(self) -> int:
        """Number of all records."""
        return sum(astuple(self))


@dataclass(frozen=True, slots=True)
class Passage:
    """One archival passage. ``id`` makes its insertion repeatable."""

    id: str
    text: str
    created: float
    node: NodeId
    """The message during whose turn it was written."""
    turn: TurnId = NO_TURN
    """The turn whose model wrote it; none for a message that was too large for the queue."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. ``role`` and ``abandoned`` are those of a message."""

    id: str
    text: str
    created: float
    role: Role | None = None
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of search results. ``total`` counts all hits, not just these."""

    total: int
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class ContextEdit:
    """One edit of the working context: the version it made, by whom, and the texts around it."""

    version: int
    turn: TurnId
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that the client names.

    Attributes:
        name: Hash of its name; the parent of its first message.
        tip: The message that it has come to.
        resends: The client was seen to send its history along.
    """

    name: NodeId
    tip: NodeId
    resends: bool


@dataclass(frozen=True, slots=True)
class Fork:
    """A turn that leaves one branch for another.

    Attributes:
        left: The messages that begin what is left behind; all that follows them is too.
        kept: Messages behind those that the new branch says again: they stay live.
        taken_up: A message of an abandoned branch that is gone on with, or None.
    """

    left: tuple[NodeId, ...] = ()
    kept: tuple[NodeId, ...] = ()
    taken_up: NodeId | None = None


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What a turn leaves behind.

    Attributes:
        lineage: What the first node hangs on and the messages before that, nearest first, as
            far as they are at hand. A store may keep some to read paths with fewer look-ups.
        created: When it was made, in seconds since the epoch.
        waited: It could not be stored at once: a queue state or conversation that was made
            later, and is stored by now, stays.
        unplaced: It was made without memory: queue and context version of its nodes are
            those of the message that the first of them hangs on, where that is stored by now.
    """

    nodes: Sequence[Node] = ()
    queues: Sequence[QueueState] = ()
    fork: Fork | None = None
    conversation: Conversation | None = None
    lineage: Sequence[NodeId] = ()
    created: float = 0.0
    waited: bool = False
    unplaced: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """What a turn did, for its owner to look at.

    Attributes:
        created: When it began, in seconds since the epoch.
        content: A JSON object with the rest, which stores leave as it is.
    """

    turn: TurnId
    created: float
    content: str


MOST_TRACES = 1000
"""Traces that are kept of a namespace, the newest."""

MOST_LINEAGE = 16
"""Messages before a turn's first that its record names."""

MOST_AFTER = 32
"""Messages after the last known one that are read with a turn."""


@dataclass(frozen=True, slots=True)
class TurnState:
    """All that a turn has to read: one call, one round trip.

    Attributes:
        known: Number of leading messages of the request that are stored.
        nodes: The known messages from the queue's start to the last known one.
        queue: The queue state in force after the last known message, if any.
        context: The working context as it is now.
        counts: What external context holds now; a store may leave it out where the queue has
            a state, since then no prompt shows it.
        after: What follows the last known message in any branch, nearest first, of equally
            near ones the newest, ``MOST_AFTER`` at most.
        shared: Another conversation opens with the words of this one.
    """

    known: int
    nodes: tuple[Node, ...]
    queue: QueueState | None
    context: WorkingContext
    counts: Counts | None
    after: tuple[Node, ...] = ()
    shared: bool = False
