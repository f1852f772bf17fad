"""The queue manager: warns of memory pressure and flushes the queue (the paper, section 2.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from memgpt_proxy.agent.main_context import MainContext
from memgpt_proxy.agent.summarizer import Summarizer
from memgpt_proxy.agent.window import Window
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.memory import alerts
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Namespace, NodeId, QueueState
from memgpt_proxy.telemetry import Telemetry

log = logging.getLogger(__name__)

_PRESSURE = f'"{alerts.PREFIX}Memory Pressure'
_WARNING_TOKENS = 80
"""What a warning of memory pressure takes in a prompt, at the most."""


class QueueManager:
    """Keeps prompts inside the window.

    Args:
        pressure_at: Part of the usable window at which pressure is signalled.
    """

    def __init__(
        self, store: Store, summarizer: Summarizer, pressure_at: float, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._summarizer = summarizer
        self._pressure_at = pressure_at
        self._telemetry = telemetry
        self._under_way: dict[tuple[Namespace, NodeId], asyncio.Event] = {}

    def pressure(self, context: MainContext, window: Window, tools: int) -> Message | None:
        """Return the warning, if this prompt is due one; once per fill.

        None is due where the prompt with it would be flushed before the model could act.

        Args:
            tools: Tokens of the function declarations.
        """
        used = window.part(context.tokens + tools)
        if used < self._pressure_at or _is_warned(context.queue):
            return None
        if self.needs_flush(context, window, tools + _WARNING_TOKENS):
            return None
        return alerts.memory_pressure(used)

    async def flush(
        self,
        namespace: Namespace,
        context: MainContext,
        window: Window,
        tools: int,
        *,
        at: NodeId,
        model: str,
        headers: RawHeaders,
    ) -> QueueState | None:
        """Evict the oldest part of the queue and fold it into the summary.

        Args:
            at: The newest message: the new state holds from there on.

        Returns:
            The new queue state, not stored yet; None where nothing could go.

        Raises:
            StoreError: The store is away.
        """
        fixed = context.tokens + tools - context.queue.tokens
        evicted = context.queue.evict(max(0, window.flush_to - fixed), window.usable - fixed)
        if not evicted:
            return None
        self._telemetry.queue_flushed(len(evicted))
        now = await self._store.context(namespace)
        counts = await self._store.counts(namespace)
        summary = await self._summarizer.fold(
            context.queue.state.summary, evicted, model=model, room=window.usable, headers=headers
        )
        context.queue.flushed(at, summary, now, counts)
        log.info("queue flushed: %d messages folded into the summary", len(evicted))
        return context.queue.state

    @contextmanager
    def flushing(self, namespace: Namespace, after: NodeId) -> Iterator[None]:
        """Tell the turns to come that a flush is under way after this message."""
        key, ended = (namespace, after), asyncio.Event()
        self._under_way[key] = ended
        try:
            yield
        finally:
            if self._under_way.get(key) is ended:
                del self._under_way[key]
            ended.set()

    async def flushed(self, namespace: Namespace, after: NodeId) -> bool:
        """Wait for a flush under way after this message; return whether there was one.

        To wait for it takes no longer than to make it again, and costs no second summary.
        """
        ended = self._under_way.get((namespace, after))
        if ended is None:
            return False
        await ended.wait()
        return True

    def needs_flush(self, context: MainContext, window: Window, tools: int) -> bool:
        """Return whether the prompt has outgrown the usable window."""
        return context.tokens + tools > window.flush_above


def _is_warned(queue: Queue) -> bool:
    """Return whether a message since the last flush has a warning; older ones were about that."""
    flush = queue.state.node if queue.state.start else None
    since = (node for node in queue.nodes if not flush or node.queue == flush != node.id)
    return any(_PRESSURE in node.entries for node in since)
