"""Traces on their way to the store: gathered, and written together beside the turns.

One write a second is enough for all turns of a process, and no turn waits for it. What is not
written yet when the process is killed, or the store is away, is lost: traces are to look at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.protocols import StoreError, TraceStore
from memgpt_proxy.stores.records import Namespace, Trace, TurnId

log = logging.getLogger(__name__)

GATHER_SECONDS = 1.0
MOST_WAITING = 10_000
LAST_SECONDS = 2.0
"""How long closing may take to write what waits."""


class TraceWriter:
    """Takes traces at once and writes them soon; reads what is kept.

    Args:
        gather: Seconds for which traces gather.
    """

    def __init__(self, store: TraceStore, *, gather: float = GATHER_SECONDS) -> None:
        self._store = store
        self._gather = gather
        self._waiting: dict[Namespace, list[Trace]] = {}
        self._count = 0
        self._lost = 0  # since the store last took some
        self._away = False
        self._come = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to write what comes."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Write what waits, if the store takes it soon, and stop."""
        if self._task is not None:
            await ended([self._task])
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._write()
        if self._lost:
            log.warning("%d traces of turns are lost", self._lost)

    def keep(self, namespace: Namespace, trace: Trace) -> None:
        """Take a trace; where too many wait, it is dropped."""
        if self._count == MOST_WAITING:
            self._lost += 1
            return
        self._count += 1
        self._waiting.setdefault(namespace, []).append(trace)
        self._come.set()

    async def forget(self, namespace: Namespace) -> None:
        """Drop what waits of a namespace; on return nothing of it is being written."""
        async with self._writing:
            self._count -= len(self._waiting.pop(namespace, ()))

    def waiting(self) -> int:
        """Return how many traces are not written yet."""
        return self._count

    async def traces(
        self, namespace: Namespace, *, limit: int, before: tuple[float, TurnId] | None
    ) -> Sequence[Trace]:
        """Return traces, the newest first, with those that waited here. Raises StoreError."""
        await self._write()
        return await self._store.traces(namespace, limit=limit, before=before)

    async def _run(self) -> None:
        while True:
            await self._come.wait()
            await asyncio.sleep(self._gather)
            await self._write()

    async def _write(self) -> None:
        async with self._writing:
            self._come.clear()
            traces, self._waiting = self._waiting, {}
            count, self._count = self._count, 0
            if not traces:
                return
            try:
                await self._store.keep_traces(traces)
            except StoreError as error:
                self._failed(error, count)
            except asyncio.CancelledError:  # by ``close``: the store has not taken them yet
                self._lost += count
                raise
            else:
                self._succeeded()

    def _failed(self, error: StoreError, count: int) -> None:
        if not self._away:
            log.warning("traces of turns are lost: %s", error)
        self._away = True
        self._lost += count

    def _succeeded(self) -> None:
        if self._lost:
            log.info("traces of turns are kept again; %d are lost", self._lost)
        self._away, self._lost = False, 0
