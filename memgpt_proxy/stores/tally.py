"""Counts of records by kind, and a hash over them in which their order does not count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from memgpt_proxy.stores.portable import ContextVersion, Portable, PortableStore, StoredPassage
from memgpt_proxy.stores.records import Conversation, Node, Owner, QueueState

KINDS: dict[type[Portable], str] = {
    Node: "messages",
    QueueState: "queue states",
    Conversation: "conversations",
    StoredPassage: "passages",
    ContextVersion: "working contexts",
}

_BYTES = 16


@dataclass(slots=True)
class Sum:
    """Number of some records, and the sum of their hashes."""

    records: int = 0
    hashes: int = 0


@dataclass(slots=True)
class Tally:
    """The records of some owners, summed up by kind."""

    kinds: dict[str, Sum] = field(default_factory=lambda: {kind: Sum() for kind in KINDS.values()})

    def add(self, owner: Owner, records: Iterable[Portable]) -> None:
        """Count records of an owner."""
        for record in records:
            kind = KINDS[type(record)]
            line = orjson.dumps([owner, kind, record], option=orjson.OPT_SORT_KEYS)
            digest = blake2b(line, digest_size=_BYTES).digest()
            self._add(kind, Sum(1, int.from_bytes(digest)))

    def join(self, other: Tally) -> None:
        """Count what another tally has counted."""
        for kind, counted in other.kinds.items():
            self._add(kind, counted)

    def differing(self, other: Tally) -> list[str]:
        """Return the kinds of which both have not counted the same records."""
        return [kind for kind, counted in self.kinds.items() if counted != other.kinds[kind]]

    @property
    def records(self) -> int:
        """Number of all records."""
        return sum(counted.records for counted in self.kinds.values())

    def _add(self, kind: str, counted: Sum) -> None:
        total = self.kinds[kind]
        total.records += counted.records
        total.hashes = (total.hashes + counted.hashes) % 2 ** (8 * _BYTES)


async def tally(store: PortableStore, owner: Owner) -> Tally:
    """Count what a store has of an owner."""
    counted = Tally()
    async for portion in store.export(owner):
        counted.add(owner, portion.records)
    return counted
