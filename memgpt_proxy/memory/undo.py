"""Undoing what a turn wrote, when its reply is discarded (DESIGN, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
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

    async def take_back(self, namespace: Namespace, turns: Iterable[TurnId], at: NodeId) -> None:
        """Undo what ``turns`` wrote, the last first; ``at`` is what is answered anew instead.

        Raises StoreError.
        """
        for turn in turns:
            await self._store.hide_passages(namespace, [turn])
            edits, taken_back = await self._edits(namespace, turn)
            if edits and not taken_back:
                await self._rewrite(namespace, Author(at, _mark(turn)), _inverses(edits))

    async def do_again(self, namespace: Namespace, turns: Iterable[TurnId], at: NodeId) -> None:
        """Restore what was taken back of ``turns``, the first first. Raises StoreError."""
        for turn in turns:
            await self._store.show_passages(namespace, [turn])
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


def discarded(left: Sequence[Node], after: Sequence[Node]) -> list[TurnId]:
    """Return the turns whose replies are discarded, the last first.

    Args:
        left: Messages that are answered or said anew: what was said instead is left behind.
        after: What follows them. A branch in which a user has said more has gone on, and
            is left alone; so is one that is too long to be seen whole.
    """
    if len(after) >= MOST_AFTER:
        return []
    turns: list[TurnId] = []
    for node in left:
        branch = _below(node, after)
        if not any(below.role is Role.USER for below in branch[1:]):
            turns += [below.turn for below in branch if below.turn]
    return turns[::-1]


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
    if text == before:
        return after
    lines, old, new = text.splitlines(), before.splitlines(), after.splitlines()
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new).get_opcodes():
        if tag != "equal":
            _exchange(lines, old[:start], old[start:end], new[new_start:new_end])
    return "\n".join(lines)


def _exchange(
    lines: list[str], above: Sequence[str], old: Sequence[str], new: Sequence[str]
) -> None:
    """Put ``new`` where ``old`` stands in ``lines``; where nothing did, below what was above."""
    places = [lines.index(line) for line in old if line in lines]
    if old and not places:
        return
    neighbours = [lines.index(line) + 1 for line in above if line in lines]
    place = places[0] if places else (neighbours or [len(lines)])[-1]
    for line in old:
        if line in lines:
            lines.remove(line)
    lines[place:place] = [line for line in new if line not in lines]


def _inverses(edits: Sequence[ContextEdit]) -> list[ContextEdit]:
    return [ContextEdit(e.version, e.turn, e.after, e.before) for e in reversed(edits)]


def _mark(turn: TurnId) -> TurnId:
    """Return what an edit that takes back a turn's is marked with."""
    return TurnId(f"-{turn}")
