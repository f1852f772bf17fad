"""What is remembered of all namespaces, up to a size: I/O is others' business."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from memgpt_proxy.stores.changes import Change, are_elsewhere
from memgpt_proxy.stores.records import Conversation, Counts, Namespace, NodeId, TurnState
from memgpt_proxy.stores.remembered import Remembered


@dataclass(slots=True, eq=False)
class Reading:
    """A read of the store under way.

    Attributes:
        changes: What was written meanwhile; the read may have seen it or not.
        void: It may have missed something that nobody can tell.
    """

    changes: list[Change] = field(default_factory=list)
    void: bool = False


class Spaces:
    """The namespaces used last, and the reads under way.

    No read brings back what was before a write, nor what was before all was forgotten.

    Args:
        max_bytes: Bound on what is remembered of all; of one namespace it is half of that.

    Attributes:
        closed: What is read is not remembered: it may change, and nobody tells.
    """

    def __init__(self, max_bytes: int) -> None:
        self.closed = False
        self._max_bytes = max_bytes
        self._spaces: OrderedDict[Namespace, Remembered] = OrderedDict()
        self._size = 0
        self._readings: dict[Namespace, set[Reading]] = {}
        self._uncertain: Counter[Namespace] = Counter()

    def __len__(self) -> int:
        """Return of how many namespaces something is remembered."""
        return len(self._spaces)

    def use(self, namespace: Namespace) -> Remembered | None:
        """Return what is remembered of a namespace, and keep it for longer."""
        if (hot := self._spaces.get(namespace)) is not None:
            self._spaces.move_to_end(namespace)
        return hot

    @contextmanager
    def reading(self, namespace: Namespace) -> Iterator[Reading]:
        """Run a read; what it gives is told what is written meanwhile."""
        reading = Reading(void=self.closed or namespace in self._uncertain)
        readings = self._readings.setdefault(namespace, set())
        readings.add(reading)
        try:
            yield reading
        finally:
            readings.discard(reading)
            if not readings:
                del self._readings[namespace]

    def learn(
        self, namespace: Namespace, chain: Sequence[NodeId], state: TurnState, reading: Reading
    ) -> None:
        """Remember what a read of a turn has found."""
        hot = self._spaces.get(namespace)
        if reading.void:
            return
        if hot is not None and reading.changes:
            # It has the changes already, and may be ahead of this where they are about the same.
            if are_elsewhere(reading.changes, chain, state):
                hot.learn_branch(chain, state)
                self._measure(namespace, hot)
            return
        if hot is None:
            hot = self._spaces[namespace] = Remembered(state.context, state.counts)
        self._spaces.move_to_end(namespace)
        hot.learn(chain, state)
        if reading.changes:
            hot.forget_counts()  # the state may have counted what they stored
        self._take_in(namespace, hot, reading.changes)

    def learn_conversation(
        self, namespace: Namespace, name: NodeId, found: Conversation | None, reading: Reading
    ) -> None:
        """Remember what a read has found of this name."""
        if not reading.void and (hot := self._spaces.get(namespace)) is not None:
            hot.know_conversation(name, found)
            self._take_in(namespace, hot, reading.changes)

    def learn_counts(self, namespace: Namespace, counts: Counts, reading: Reading) -> None:
        """Remember what a read has counted."""
        if not reading.void and (hot := self._spaces.get(namespace)) is not None:
            hot.counts = counts
            if reading.changes:
                hot.forget_counts()

    def take_in(self, namespace: Namespace, change: Change) -> None:
        """Remember a change that the store has carried out."""
        for reading in self._readings.get(namespace, ()):
            reading.changes.append(change)
        if (hot := self.use(namespace)) is not None:
            self._take_in(namespace, hot, [change])

    def forget_counts(self, namespace: Namespace) -> None:
        """Forget how much there is of a namespace."""
        if (hot := self._spaces.get(namespace)) is not None:
            hot.forget_counts()

    def forget(self, namespace: Namespace) -> None:
        """Forget a namespace, and what is being read of it: nobody knows what is there by now."""
        self._drop(namespace)
        for reading in self._readings.get(namespace, ()):
            reading.void = True

    def forget_all(self) -> None:
        """Forget all namespaces."""
        for namespace in {*self._spaces, *self._readings}:
            self.forget(namespace)

    def begin_uncertain(self, namespace: Namespace) -> None:
        """From now on something may be written, nobody knows when."""
        self._uncertain[namespace] += 1
        self.forget(namespace)

    def end_uncertain(self, namespace: Namespace) -> None:
        """It is written, or will never be."""
        self._uncertain[namespace] -= 1
        if not self._uncertain[namespace]:
            del self._uncertain[namespace]
        self.forget(namespace)

    def _take_in(self, namespace: Namespace, hot: Remembered, changes: Sequence[Change]) -> None:
        """Take in changes; where one cannot be told, nothing is remembered any more."""
        if all(hot.take_in(change) for change in changes):
            self._measure(namespace, hot)
        else:
            self.forget(namespace)

    def _measure(self, namespace: Namespace, hot: Remembered) -> None:
        """Count what a namespace takes by now, and make room."""
        most = self._max_bytes // 2
        hot.shed(most)
        self._size += hot.size - hot.counted
        hot.counted = hot.size
        if hot.size > most:
            self._drop(namespace)
        while self._size > self._max_bytes:
            self._drop(next(iter(self._spaces)))

    def _drop(self, namespace: Namespace) -> None:
        if (hot := self._spaces.pop(namespace, None)) is not None:
            self._size -= hot.counted
