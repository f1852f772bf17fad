"""Threads that each own a connection, so that SQLite never runs on the event loop.

Jobs go to a thread by a queue and come back as futures. An accepted job is carried
out even when its caller is cancelled. All that waits is taken at once, up to ``most``
jobs, and all of its futures are settled by one call into the event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, NamedTuple, TypeVar

from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.sqlite.connection import store_error

Job = TypeVar("Job")
Result = TypeVar("Result")


class Asked(NamedTuple, Generic[Job, Result]):
    """A job, and the future that its caller waits on."""

    job: Job
    future: asyncio.Future[Result]


class Threads(Generic[Job, Result]):
    """Threads that take jobs from one queue and carry them out on their own connections.

    Args:
        name: What the threads are called.
        count: Number of threads.
        most: Number of jobs that a thread takes at once.
        gather: Seconds for which a thread that was kept waiting for lets more jobs come,
            so that many share what one round costs. An idle thread never waits.
        connect: Opens a connection, in the thread that will use it.
        carry_out: Returns one result or error for each job. What it raises is
            the error of every job it was given.
    """

    def __init__(
        self,
        name: str,
        *,
        count: int,
        most: int,
        gather: float = 0.0,
        connect: Callable[[], sqlite3.Connection],
        carry_out: Callable[[sqlite3.Connection, Sequence[Job]], Sequence[Result | StoreError]],
    ) -> None:
        self._name = name
        self._count = count
        self._most = most
        self._gather = gather
        self._connect = connect
        self._carry_out = carry_out
        self._asked: SimpleQueue[Asked[Job, Result] | None] = SimpleQueue()
        self._ended: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the threads and connect. Raises StoreError when that fails."""
        self._loop = loop = asyncio.get_running_loop()
        try:
            for _ in range(self._count):
                await self._start_one(loop)
        except (StoreError, asyncio.CancelledError):
            await self.stop()
            raise

    def submit(self, job: Job) -> asyncio.Future[Result]:
        """Accept a job; it is carried out whatever becomes of the future."""
        if self._loop is None:
            raise StoreError("the store is not open")
        asked: Asked[Job, Result] = Asked(job, self._loop.create_future())
        self._asked.put(asked)
        return asked.future

    async def stop(self) -> None:
        """Accept no more jobs, carry out those accepted, and close the connections."""
        self._loop = None
        ended, self._ended = self._ended, []
        for _ in ended:
            self._asked.put(None)
        await asyncio.gather(*ended)
        self._asked = SimpleQueue()  # a thread that could not connect has left its None

    async def _start_one(self, loop: asyncio.AbstractEventLoop) -> None:
        ready: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()
        arguments = (loop, ready, ended)
        threading.Thread(target=self._run, args=arguments, name=self._name, daemon=True).start()
        self._ended.append(ended)  # before it is ready: also a start that is cancelled ends it
        await ready

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        ready: asyncio.Future[None],
        ended: asyncio.Future[None],
    ) -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError, StoreError) as error:
            loop.call_soon_threadsafe(_settle, [ready, ended], [store_error(error), None])
            return
        loop.call_soon_threadsafe(_settle, [ready], [None])
        self._serve(connection, loop)
        connection.close()
        loop.call_soon_threadsafe(_settle, [ended], [None])

    def _serve(self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        more = True
        while more:
            batch, more = self._take()
            if batch:
                outcomes = self._attempt(connection, [asked.job for asked in batch])
                loop.call_soon_threadsafe(_settle, [asked.future for asked in batch], outcomes)
            if self._gather and more and not self._asked.empty():
                time.sleep(self._gather)

    def _take(self) -> tuple[list[Asked[Job, Result]], bool]:
        """Wait for a job and take what waits with it; False once no more will come."""
        batch: list[Asked[Job, Result]] = []
        asked = self._asked.get()
        while asked is not None:
            batch.append(asked)
            if len(batch) == self._most:
                return batch, True
            try:
                asked = self._asked.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _attempt(
        self, connection: sqlite3.Connection, jobs: Sequence[Job]
    ) -> Sequence[Result | Exception]:
        try:
            return self._carry_out(connection, jobs)
        except sqlite3.Error as error:
            return [store_error(error) for _ in jobs]
        except Exception as error:  # noqa: BLE001 - its callers shall see it, and the thread live on
            return [error for _ in jobs]


def _settle(
    futures: Sequence[asyncio.Future[Result]], outcomes: Sequence[Result | Exception]
) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():  # its caller was cancelled
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
