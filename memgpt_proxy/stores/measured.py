"""A family of stores, with what it is asked for timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TypeVar

from memgpt_proxy.stores.layer import Layer
from memgpt_proxy.stores.portable import Portable
from memgpt_proxy.stores.protocols import Store, StoreError
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
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.telemetry.spans import Kind

Result = TypeVar("Result")


class Timed:
    """Times what a store is asked for, tells what fails, and begins a span of it.

    Args:
        system: The name of its family, as OpenTelemetry's conventions for databases have it.
    """

    def __init__(self, system: str, telemetry: Telemetry) -> None:
        self._system = system
        self._telemetry = telemetry

    async def __call__(self, operation: str, asked: Awaitable[Result]) -> Result:
        """Return what comes of ``asked``."""
        began, error = time.perf_counter(), ""
        told = {"db.system.name": self._system, "db.operation.name": operation}
        span = self._telemetry.span(operation, Kind.CLIENT, told)
        try:
            return await asked
        except (StoreError, asyncio.CancelledError) as failure:
            error = type(failure).__name__
            raise
        finally:
            seconds = time.perf_counter() - began
            self._telemetry.store_asked(self._system, operation, error, seconds)
            if span is not None:
                span.end(error)


class MeasuredStore(Layer):
    """Tells how long each call of the store behind it takes, and which fail."""

    def __init__(self, inner: Store, timed: Timed) -> None:
        super().__init__(inner)
        self._timed = timed

    async def counts(self, namespace: Namespace) -> Counts:
        return await self._timed("counts", self.inner.counts(namespace))

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        return await self._timed("read_turn", self.inner.read_turn(namespace, chain, enough=enough))

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        return await self._timed("path", self.inner.path(namespace, node, length))

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        return await self._timed("after", self.inner.after(namespace, node))

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        return await self._timed(
            "with_content", self.inner.with_content(namespace, contents, limit=limit)
        )

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        return await self._timed("conversation", self.inner.conversation(namespace, name))

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        return await self._timed("commit", self.inner.commit(namespace, record))

    async def search_messages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        return await self._timed(
            "search_messages",
            self.inner.search_messages(
                namespace, query, limit=limit, offset=offset, without=without
            ),
        )

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        return await self._timed(
            "messages_between",
            self.inner.messages_between(namespace, start, end, limit=limit, offset=offset),
        )

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        await self._timed("insert_passages", self.inner.insert_passages(namespace, passages))

    async def search_passages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        return await self._timed(
            "search_passages",
            self.inner.search_passages(
                namespace, query, limit=limit, offset=offset, without=without
            ),
        )

    async def passages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        return await self._timed(
            "passages_between",
            self.inner.passages_between(namespace, start, end, limit=limit, offset=offset),
        )

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        await self._timed("hide_passages", self.inner.hide_passages(namespace, turns))

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        await self._timed("show_passages", self.inner.show_passages(namespace, turns))

    async def context(self, namespace: Namespace) -> WorkingContext:
        return await self._timed("context", self.inner.context(namespace))

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        return await self._timed("context_at", self.inner.context_at(namespace, version))

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        return await self._timed(
            "write_context", self.inner.write_context(namespace, expected, content, node, turn)
        )

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        return await self._timed("edits", self.inner.edits(namespace, turns))

    async def erase(self, namespace: Namespace) -> Holdings:
        return await self._timed("erase", self.inner.erase(namespace))

    async def erased_at(self, namespace: Namespace) -> float:
        return await self._timed("erased_at", self.inner.erased_at(namespace))

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        await self._timed("restore", self.inner.restore(namespace, records))
