"""What was really said, kept independently of the gateway: the truth that it is checked against.

A *node* is a message in its place, an *utterance* what somebody said once; an utterance has
more than one node where a client edits a message and keeps what follows. Conversations
without a name that open in the same words on the same day have the same nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal
from unicodedata import normalize

from tests.simulation.world import Fact


@dataclass(slots=True)
class Write:
    """Something that a turn has put into memory; ``active`` unless its reply was discarded."""

    kind: Literal["working context", "archival storage"]
    text: str
    active: bool = True


@dataclass(slots=True, eq=False)
class Utterance:
    """Words that were said once.

    Attributes:
        at: When, in seconds since the epoch.
        writes: What the turn that said it has written.
        live: It stands in its conversation as that is now.
    """

    role: str
    text: str
    at: float
    writes: list[Write] = field(default_factory=list)
    live: bool = True


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """An utterance in its place; a root has none.

    Attributes:
        owner: The conversation that came here first.
        is_shared: It is the root of all conversations without a name that open on one day.
    """

    owner: str = ""
    parent: Node | None = None
    utterance: Utterance | None = None
    children: dict[tuple[str, str], Node] = field(default_factory=dict)
    is_shared: bool = False

    def path(self) -> Iterator[Node]:
        """Give this node and all before it, without the root."""
        node: Node | None = self
        while node and node.parent:
            yield node
            node = node.parent

    def below(self) -> Iterator[Node]:
        """Give this node and all that follows it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.children.values())

    @property
    def went_on(self) -> bool:
        """Whether a user has said anything after this."""
        nodes = self.below()
        next(nodes)
        return any(node.utterance and node.utterance.role == "user" for node in nodes)


@dataclass(slots=True, repr=False)
class Ledger:
    """Everything said in one namespace.

    Attributes:
        said: All utterances with words, in order.
        fresh: Those since ``take_fresh``.
        facts: What was stated and not taken back, each once.
    """

    said: list[Utterance] = field(default_factory=list)
    fresh: list[Utterance] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    _roots: dict[str, Node] = field(default_factory=dict)

    def root(self, name: str, *, is_shared: bool) -> Node:
        """Return the root of a named conversation, or of all that open on one day."""
        return self._roots.setdefault(name, Node(is_shared=is_shared))

    def take_fresh(self) -> list[Utterance]:
        fresh, self.fresh = self.fresh, []
        return fresh

    def place(
        self,
        parent: Node,
        role: str,
        text: str,
        at: float,
        *,
        owner: str,
        again: Utterance | None = None,
        called: Sequence[str] = (),
    ) -> Node:
        """Put a message after ``parent``; said before in that very place, it is no new one.

        Args:
            again: The utterance that it is, where it was said already in another place.
            called: Names of what tells it from others of the same words: its calls.
        """
        key = (role, " ".join((_plain(text), *called)))
        if (known := parent.children.get(key)) is not None:
            return known
        utterance = again or Utterance(role, text, at)
        node = parent.children[key] = Node(owner, parent, utterance)
        if again is None and text and role in ("user", "assistant"):
            self.said.append(utterance)
            self.fresh.append(utterance)
        return node

    def write(self, node: Node, writes: Sequence[Write]) -> None:
        """Take what the turn wrote that has come to ``node``."""
        if node.utterance and writes:
            node.utterance.writes += writes
            self.writes += writes

    def rewrite(self, node: Node) -> None:
        """The same reply was given once more: what its first turn wrote is taken back."""
        if node.utterance:
            for write in node.utterance.writes:
                write.active = False
            node.utterance.writes = []

    def go_to(self, tip: Node, *, depth: int | None) -> None:
        """The conversation stands at ``tip`` now: what was said instead is left behind.

        What a reply's turn wrote is taken back if the reply is left before anybody has
        gone on from it; it is there again when somebody does.

        Args:
            depth: How far back anything may have changed; None for all the way.
        """
        path = list(islice(tip.path(), depth))
        kept = {node.utterance for node in path}
        for node in path:
            for other in _instead(node):
                _leave(other, kept)
        for utterance in kept:
            if utterance:
                _stand(utterance, live=True)


def _instead(node: Node) -> list[Node]:
    """Return what the same conversation has in this message's place."""
    parent = node.parent
    if parent is None or parent.is_shared:
        return []
    others = parent.children.values()
    return [other for other in others if other is not node and other.owner == node.owner]


def _leave(branch: Node, kept: set[Utterance | None]) -> None:
    went_on = branch.went_on
    for node in branch.below():
        if node.utterance and node.utterance not in kept:
            _stand(node.utterance, live=False, writes=went_on)


def _stand(utterance: Utterance, *, live: bool, writes: bool = True) -> None:
    utterance.live = live
    for write in utterance.writes:
        write.active = live or (write.active and writes)


def _plain(text: str) -> str:
    return normalize("NFC", text).replace("\r\n", "\n").strip()
