"""Vectors of a store, with what they are asked for timed."""

from __future__ import annotations

from collections.abc import Sequence

from memgpt_proxy.stores.measured import Timed
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.vectors import (
    Embedded,
    Kind,
    Lacking,
    Near,
    Place,
    Space,
    Vector,
    VectorStore,
)


class MeasuredVectors:
    """Tells how long each call of the vectors behind it takes, and which fail."""

    def __init__(self, inner: VectorStore, timed: Timed) -> None:
        self.inner = inner
        self._timed = timed

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def put_vectors(self, space: Space, vectors: Sequence[Embedded]) -> None:
        await self._timed("put_vectors", self.inner.put_vectors(space, vectors))

    async def nearest(
        self, namespace: Namespace, kind: Kind, space: Space, vector: Vector, *, limit: int
    ) -> tuple[Near, ...]:
        asked = self.inner.nearest(namespace, kind, space, vector, limit=limit)
        return await self._timed("nearest", asked)

    async def lacking(self, space: Space, after: Place, *, limit: int) -> Lacking:
        return await self._timed("lacking", self.inner.lacking(space, after, limit=limit))

    async def remove_others(self, space: Space) -> None:
        await self._timed("remove_others", self.inner.remove_others(space))
