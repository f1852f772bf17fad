"""A store that goes away and comes back as a test says, and tells what it has carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from memgpt_proxy.stores.protocols import Store, StoreUnavailable
from memgpt_proxy.stores.records import Namespace, TurnRecord

_NO_CALLS = ("degraded", "changed_elsewhere")


class Switch:
    """What is between a store and its callers.

    Args:
        opens: Its callers open and close the store; else the test does, and they only think so.

    Attributes:
        here: Whether calls come through.
        answers: Whether their answers do; where not, they are carried out all the same.
        hangs: Whether calls are neither carried out nor answered, for good.
        opened: How often it was opened.
        commits: The names of messages whose commit was asked for, each time in order.
    """

    def __init__(self, store: Store, *, opens: bool = False) -> None:
        self.opens = opens
        self.here = True
        self.answers = True
        self.hangs = False
        self.opened = 0
        self.commits: list[tuple[Namespace, str]] = []
        self._store = store

    @property
    def store(self) -> Store:
        """The store behind it, as its callers see it."""
        return cast("Store", _Switched(self))

    async def call(self, name: str, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
        if not self.here:
            raise StoreUnavailable("switched off")
        if self.hangs:
            await asyncio.Event().wait()
        if name == "commit":  # it will be carried out, whatever becomes of the caller
            self._committed(*arguments)
        answer = await getattr(self._store, name)(*arguments, **named)
        if not self.answers:
            raise StoreUnavailable("switched off midway")
        return answer

    def _committed(self, namespace: Namespace, record: TurnRecord) -> None:
        self.commits += [(namespace, node.id) for node in record.nodes]


class _Switched:
    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    async def open(self) -> None:
        if not self._switch.here:
            raise StoreUnavailable("switched off")
        self._switch.opened += 1
        if self._switch.opens:
            await self._switch._store.open()

    async def close(self) -> None:
        if self._switch.opens:
            await self._switch._store.close()

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._switch.call(name, arguments, named)

        if name in _NO_CALLS:
            return getattr(self._switch._store, name)
        return call
