"""Leaving one branch of a conversation for another: what is abandoned, and what is undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from memgpt_proxy.memory.reconcile import Place
from memgpt_proxy.memory.undo import Undo, cannot_be_told, discarded
from memgpt_proxy.stores.protocols import Store, StoreAway
from memgpt_proxy.stores.records import Fork, Namespace, Node, Role, TurnId
from memgpt_proxy.values import dataclass


@dataclass(frozen=True, slots=True)
class _Instead:
    """Messages that are left behind for an earlier alternative, and what follows them."""

    left: Sequence[Node]
    after: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Left:
    """What a turn has left behind.

    Attributes:
        place: Where it stands after that.
        fork: What is to be stored of it.
        undone: Turns of live replies that were undone, the first first: to be done again
            where this turn comes to nothing.
    """

    place: Place
    fork: Fork | None
    undone: Sequence[TurnId] = ()


class Branching:
    """Sees to what a turn leaves behind.

    Args:
        rolls_back: Undo what the turn of a discarded reply wrote.
    """

    def __init__(self, store: Store, undo: Undo, *, rolls_back: bool) -> None:
        self._store = store
        self._undo = undo
        self._rolls_back = rolls_back

    async def leave(self, namespace: Namespace, place: Place, *, writes: bool) -> Left:
        """Undo what is discarded.

        Args:
            writes: The turn may change memory.

        Raises:
            StoreError: The store is away.
        """
        if not place.left and not (place.last and place.last.abandoned):
            return Left(place, None)
        instead = await self._instead(namespace, place)
        fork = _fork(place, instead)
        if self._rolls_back and writes:
            return await self._rolled_back(namespace, place, instead, fork)
        return Left(place, fork)

    async def _instead(self, namespace: Namespace, place: Place) -> _Instead:
        """Return what was said in place of an abandoned branch that is gone on with again."""
        branch = list(takewhile(lambda node: node.abandoned, reversed(place.state.nodes)))
        if not branch:
            return _Instead((), ())
        top = branch[-1]
        after = await self._store.after(namespace, top.parent)
        others = (node for node in after if node.parent == top.parent and node.id != top.id)
        return _Instead([node for node in others if not node.abandoned], after)

    async def _rolled_back(
        self, namespace: Namespace, place: Place, instead: _Instead, fork: Fork | None
    ) -> Left:
        """Undo what discarded replies wrote, do again what a branch wrote that is taken up."""
        kept = {new.original.turn for new in place.new if new.original}
        again = _taken_up(place)
        at = place.last.id if place.last else place.parent
        try:
            left = await self._discarded(namespace, _Instead(place.left, place.state.after))
            left += await self._discarded(namespace, instead)
            away = [node.turn for node in left if node.turn not in kept]
            if not away and not again:
                return Left(place, fork)
            await self._undo.take_back(namespace, away, at)
            await self._undo.do_again(namespace, again, at)
        except StoreAway:  # what is at hand is enough to go on: what was written stays
            return Left(place, fork)
        context = await self._store.context(namespace)
        live = {node.turn for node in left if not node.abandoned}
        undone = [turn for turn in reversed(away) if turn in live]
        return Left(replace(place, state=replace(place.state, context=context)), fork, undone)

    async def _discarded(self, namespace: Namespace, instead: _Instead) -> list[Node]:
        """Return the replies that are discarded, the last first. Raises StoreError."""
        replies: list[Node] = []
        for node in reversed(instead.left):
            after = instead.after
            if cannot_be_told(node, after):
                after = await self._store.after(namespace, node.id)
            replies += discarded(node, after)
        return replies


def _fork(place: Place, instead: _Instead) -> Fork | None:
    last = place.last
    fork = Fork(
        left=tuple(node.id for node in [*place.left, *instead.left]),
        kept=tuple(new.original.id for new in place.new if new.original),
        taken_up=last.id if last and last.abandoned else None,
    )
    return fork if fork.left or fork.taken_up else None


def _taken_up(place: Place) -> list[TurnId]:
    """Return the turns since the last word of the user, in a branch that was left once."""
    if place.last is None or not place.last.abandoned or place.state.after:
        return []
    since = takewhile(lambda node: node.role is not Role.USER, reversed(place.state.nodes))
    return [node.turn for node in since if node.turn][::-1]
