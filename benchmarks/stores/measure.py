"""What a store is asked, timed one by one, and many turns at once."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from benchmarks.stores.corpus import (
    EPOCH,
    LENGTH,
    START,
    Writer,
    identifier,
    message,
    node_name,
)
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Namespace, Node, NodeId, Role, TurnRecord

Ask = Callable[[], Awaitable[object]]

AT_ONCE = 64
PAGE = 10


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles in milliseconds."""

    median: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        ordered = sorted(seconds)
        return cls(1000 * ordered[len(ordered) // 2], 1000 * ordered[len(ordered) * 99 // 100])


@dataclass(slots=True)
class Asker:
    """Asks a store about namespaces that hold a number of conversations each."""

    store: Store
    namespaces: Sequence[Namespace]
    conversations: int
    random: random.Random
    writer: Writer
    turns: "count[int]"

    def asked(self) -> dict[str, Ask]:
        return {
            "turn read": self.read_turn,
            "turn write": self.write_turn,
            "path of a queue": self.read_path,
            "recall, two words": self.recall_words,
            "recall, identifier": self.recall_identifier,
            "recall, page 50": self.recall_deep,
            "recall, one day": self.recall_day,
            "archival search": self.archival,
        }

    async def read_turn(self) -> None:
        """As a resent history with one new message asks for it, with nothing at hand."""
        conversation = self._conversation()
        chain = [node_name(conversation, depth) for depth in range(LENGTH)]
        state = await self.store.read_turn(
            self._namespace(), [*chain, NodeId("f" * 32)], enough=LENGTH
        )
        assert (state.known, len(state.nodes)) == (LENGTH, LENGTH - START)

    async def write_turn(self) -> None:
        await self.store.commit(self._namespace(), self._turn())

    async def read_path(self) -> None:
        tip = node_name(self._conversation(), LENGTH - 1)
        path = await self.store.path(self._namespace(), tip, LENGTH - START)
        assert len(path) == LENGTH - START

    async def recall_words(self) -> None:
        await self._recall(" ".join(self.random.choices(self.writer.words[:500], k=2)))

    async def recall_identifier(self) -> None:
        found = await self._recall(identifier(self._conversation()))
        assert found == 1

    async def recall_deep(self) -> None:
        await self._recall(self.random.choice(self.writer.words[:20]), offset=50 * PAGE)

    async def recall_day(self) -> None:
        start = EPOCH + self._conversation() * 1000
        span = (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(start + 1000, UTC))
        await self.store.messages_between(self._namespace(), *span, limit=PAGE, offset=0)

    async def archival(self) -> None:
        query = " ".join(self.random.choices(self.writer.words[:2000], k=3))
        await self.store.search_passages(self._namespace(), query, limit=PAGE, offset=0)

    async def turns_per_second(self, turns: int) -> float:
        """Write so many turns, 64 at once, each reading its conversation first."""
        left = iter(range(turns))

        async def client() -> None:
            for _ in left:
                await self.read_turn()
                await self.write_turn()

        began = time.perf_counter()
        async with asyncio.TaskGroup() as clients:
            for _ in range(AT_ONCE):
                clients.create_task(client())
        return turns / (time.perf_counter() - began)

    async def _recall(self, query: str, offset: int = 0) -> int:
        page = await self.store.search_messages(self._namespace(), query, limit=PAGE, offset=offset)
        return page.total

    def _turn(self) -> TurnRecord:
        """A message and its reply beside the conversation's own: it stays as it is for others."""
        conversation, number = self._conversation(), next(self.turns)
        said = message(self.writer, conversation, 0)
        queue = node_name(conversation, START)
        asks = replace(
            said,
            id=node_name(-number, 1),
            key=node_name(-number, 1),
            parent=node_name(-number, 0),
            depth=LENGTH,
            queue=queue,
        )
        reply = replace(
            message(self.writer, conversation, 1),
            id=node_name(-number, 2),
            key=node_name(-number, 2),
            parent=asks.id,
            depth=LENGTH + 1,
            role=Role.ASSISTANT,
            queue=queue,
        )
        return TurnRecord(nodes=(asks, reply), lineage=_lineage(conversation), created=said.created)

    def _conversation(self) -> int:
        return self.random.randrange(self.conversations)

    def _namespace(self) -> Namespace:
        return self.random.choice(self.namespaces)


def _lineage(conversation: int) -> tuple[NodeId, ...]:
    return tuple(node_name(conversation, depth) for depth in range(LENGTH - 1, LENGTH - 17, -1))


def asker(store: Store, namespaces: Sequence[Namespace], conversations: int) -> Asker:
    return Asker(store, namespaces, conversations, random.Random(1), Writer(1), count(1))


async def timed(ask: Ask, times: int) -> Times:
    """Ask so often after some warm-up, one after the other."""
    for _ in range(max(3, times // 10)):
        await ask()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - began)
    return Times.of(taken)


def nodes_of(portion: Sequence[object]) -> int:
    return sum(isinstance(record, Node) for record in portion)
