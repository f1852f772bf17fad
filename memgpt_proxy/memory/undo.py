"""Undoing what a turn wrote, when its reply is discarded."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import chain
from typing import Protocol

from memgpt_proxy.memory.working_context import Author, rewrite
from memgpt_proxy.stores.protocols import ArchivalStore, ContextStore
from memgpt_proxy.stores.records import (
    MOST_AFTER,
    ContextEdit,
    Namespace,
    Node,
    NodeId,
    Role,
    TurnId,
)


class WrittenTo(ArchivalStore, ContextStore, Protocol):
    """What turns write to."""


class Undo:
    """Takes back, and does again, what turns wrote to working context and archival storage.

    Taking back an edit is an edit as well, marked as such: nothing is lost from the history
    of the working context, and what others have written since stays.
    """

    def __init__(self, store: WrittenTo) -> None:
        self._store = store

    async def take_back(self, namespace: Namespace, turns: Sequence[TurnId], at: NodeId) -> None:
        """Undo what ``turns`` wrote, the last first; ``at`` is what is answered anew instead.

        Raises StoreError.
        """
        made = [(turn, *await self._edits(namespace, turn)) for turn in turns]
        if turns:  # which can wait for a store that is away, where what was edited cannot be told
            await self._store.hide_passages(namespace, turns)
        for turn, edits, taken_back in made:
            if edits and not taken_back:
                await self._rewrite(namespace, Author(at, _mark(turn)), _inverses(edits))

    async def do_again(self, namespace: Namespace, turns: Sequence[TurnId], at: NodeId) -> None:
        """Restore what was taken back of ``turns``, the first first. Raises StoreError."""
        if turns:
            await self._store.show_passages(namespace, turns)
        for turn in turns:
            edits, taken_back = await self._edits(namespace, turn)
            if edits and taken_back:
                await self._rewrite(namespace, Author(at, turn), edits)

    async def _edits(
        self, namespace: Namespace, turn: TurnId
    ) -> tuple[Sequence[ContextEdit], bool]:
        """Return the edits of a turn that stand, or that were taken back last."""
        edits = list(await self._store.edits(namespace, [turn, _mark(turn)]))
        taken_back = bool(edits) and edits[-1].turn != turn
        if taken_back:
            edits.pop()
        begin = max((at + 1 for at, edit in enumerate(edits) if edit.turn != turn), default=0)
        return edits[begin:], taken_back

    async def _rewrite(
        self, namespace: Namespace, author: Author, edits: Sequence[ContextEdit]
    ) -> None:
        def change(text: str) -> str:
            for edit in edits:
                text = apply(text, edit.before, edit.after)
            return text

        await rewrite(self._store, namespace, author, change)


def discarded(node: Node, after: Sequence[Node]) -> list[Node]:
    """Return the replies that are discarded with a message, the last first.

    Args:
        node: Something else was said instead of it.
        after: What follows it, and maybe others. A branch in which a user has said more has gone
            on, and is left alone; so is one that is too long to be seen whole.
    """
    branch = _below(node, after)
    if not _is_whole(branch, after) or _has_gone_on(branch):
        return []
    return [below for below in reversed(branch) if below.turn]


def cannot_be_told(node: Node, after: Sequence[Node]) -> bool:
    """Return whether it takes more than ``after`` to tell if ``discarded`` has a message.

    It has the nearest only: of many alternatives it may not have what follows them.
    """
    branch = _below(node, after)
    return not _is_whole(branch, after) and not _has_gone_on(branch)


def _is_whole(branch: Sequence[Node], after: Sequence[Node]) -> bool:
    """Return whether all that follows a message is known."""
    return len(after) < MOST_AFTER or branch[-1].depth + 1 < after[-1].depth


def _has_gone_on(branch: Sequence[Node]) -> bool:
    """Return whether a user has said more behind the first message of a branch."""
    return any(below.role is Role.USER for below in branch[1:])


def _below(node: Node, after: Sequence[Node]) -> list[Node]:
    """Return a message and all that follows it; ``after`` has the nearest first."""
    branch = [node]
    ids = {node.id}
    for other in after:
        if other.parent in ids:
            ids.add(other.id)
            branch.append(other)
    return branch


def apply(text: str, before: str, after: str) -> str:
    """Return ``text`` with the change from ``before`` to ``after`` made to it, line by line.

    Lines that others have changed since are left as they are.
    """
    lines, old, new = _lines(text), _lines(before), _lines(after)
    places = _places(old, lines)
    head: list[str] = []
    slots = [[line] for line in lines]
    changes = SequenceMatcher(None, old, new).get_opcodes()
    for tag, start, end, new_start, new_end in changes:
        standing = [places[at] for at in range(start, end) if at in places]
        if tag == "equal" or (start < end and not standing):
            continue
        for place in standing:
            slots[place] = []
        above = [places[at] for at in range(start) if at in places]
        slot = slots[standing[0]] if standing else slots[above[-1]] if above else head
        slot += new[new_start:new_end]
    return "\n".join(chain(head, *slots))


def _lines(text: str) -> list[str]:
    """Return the lines of a text; only their ends part them, whatever else Unicode has."""
    return text.split("\n") if text else []


def _places(old: Sequence[str], lines: Sequence[str]) -> dict[int, int]:
    """Return where in ``lines`` each line of ``old`` stands, as far as it does.

    A line that others have moved is found where it is now.
    """
    blocks = SequenceMatcher(None, old, lines).get_matching_blocks()
    places = {block.a + n: block.b + n for block in blocks for n in range(block.size)}
    taken = set(places.values())
    free: defaultdict[str, deque[int]] = defaultdict(deque)
    for at, line in enumerate(lines):
        if at not in taken:
            free[line].append(at)
    for at, line in enumerate(old):
        if at not in places and free[line]:
            places[at] = free[line].popleft()
    return places


def _inverses(edits: Sequence[ContextEdit]) -> list[ContextEdit]:
    return [ContextEdit(e.version, e.turn, e.after, e.before) for e in reversed(edits)]


def _mark(turn: TurnId) -> TurnId:
    """Return what an edit that takes back a turn's is marked with."""
    return TurnId(f"-{turn}")
