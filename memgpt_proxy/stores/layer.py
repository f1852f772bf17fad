"""A store around another: what a layer does not do otherwise, it hands on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memgpt_proxy.stores.portable import Portable
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import (
    ContentId,
    ContextEdit,
    Conversation,
    Counts,
    Holdings,
    Known,
    Namespace,
    Node,
    NodeId,
    Page,
    Passage,
    TurnId,
    TurnRecord,
    TurnState,
    WorkingContext,
)


class Layer:
    """Hands everything on to ``inner``, the store behind; each method is that of its own."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def degraded(self) -> bool:
        return self.inner.degraded

    def alone(self, *, alone: bool) -> None:
        self.inner.alone(alone=alone)

    def changed_elsewhere(self, namespace: Namespace) -> None:
        self.inner.changed_elsewhere(namespace)

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def ping(self) -> None:
        await self.inner.ping()

    async def counts(self, namespace: Namespace) -> Counts:
        return await self.inner.counts(namespace)

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        return await self.inner.read_turn(namespace, chain, enough=enough)

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        return await self.inner.path(namespace, node, length)

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        return await self.inner.after(namespace, node)

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        return await self.inner.with_content(namespace, contents, limit=limit)

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        return await self.inner.conversation(namespace, name)

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        return await self.inner.commit(namespace, record)

    async def search_messages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        return await self.inner.search_messages(
            namespace, query, limit=limit, offset=offset, without=without
        )

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        return await self.inner.messages_between(namespace, start, end, limit=limit, offset=offset)

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        await self.inner.insert_passages(namespace, passages)

    async def search_passages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        return await self.inner.search_passages(
            namespace, query, limit=limit, offset=offset, without=without
        )

    async def passages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        return await self.inner.passages_between(namespace, start, end, limit=limit, offset=offset)

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        await self.inner.hide_passages(namespace, turns)

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        await self.inner.show_passages(namespace, turns)

    async def context(self, namespace: Namespace) -> WorkingContext:
        return await self.inner.context(namespace)

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        return await self.inner.context_at(namespace, version)

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        return await self.inner.write_context(namespace, expected, content, node, turn)

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        return await self.inner.edits(namespace, turns)

    async def erase(self, namespace: Namespace) -> Holdings:
        return await self.inner.erase(namespace)

    async def erased_at(self, namespace: Namespace) -> float:
        return await self.inner.erased_at(namespace)

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        await self.inner.restore(namespace, records)
