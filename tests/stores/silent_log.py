"""A change log in which nobody else ever says anything."""

from __future__ import annotations

from memgpt_proxy.stores.change_log import News, Position
from memgpt_proxy.stores.changes import Change
from memgpt_proxy.stores.records import Namespace, Owner


class SilentLog:
    """It takes down who joins, and what others are told."""

    def __init__(self) -> None:
        self.joined: list[Namespace] = []
        self.changes: list[tuple[Namespace, Change]] = []

    async def join(self, namespace: Namespace) -> News:
        self.joined.append(namespace)
        return News(Position("p"))

    async def follow(self, _: Namespace, position: Position) -> News:
        return News(position)

    async def append(
        self, namespace: Namespace, change: Change, *, upon: Position, position: Position
    ) -> News:
        assert upon <= position
        self.changes.append((namespace, change))
        return News(position)

    async def forget(self, _: Owner) -> None:
        raise AssertionError

    async def ping(self) -> None:
        """It is there."""

    async def void(self) -> None:
        raise AssertionError
