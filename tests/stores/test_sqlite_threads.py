"""The threads by themselves: batches, results, errors, cancellation."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence

import pytest

from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.sqlite.threads import Threads

DEADLINE = 10.0


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:")


class Gate:
    """Holds up a thread's first batch until it is opened; keeps the batches it saw."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.batches: list[list[int]] = []

    def double(self, _: sqlite3.Connection, jobs: Sequence[int]) -> list[int | StoreError]:
        self.batches.append(list(jobs))
        self.entered.set()
        assert self.opened.wait(DEADLINE)
        return [StoreError("odd") if job == 13 else 2 * job for job in jobs]


async def started(gate: Gate, most: int = 8) -> Threads[int, int]:
    threads: Threads[int, int] = Threads(
        "test", count=1, most=most, connect=connect, carry_out=gate.double
    )
    await threads.start()
    return threads


async def test_all_that_waits_is_taken_at_once() -> None:
    gate = Gate()
    threads = await started(gate)
    first = threads.submit(1)
    assert await asyncio.to_thread(gate.entered.wait, DEADLINE)
    others = [threads.submit(number) for number in range(2, 14)]
    gate.opened.set()
    assert await first == 2
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert outcomes[:-1] == [2 * number for number in range(2, 13)]
    assert isinstance(outcomes[-1], StoreError)
    assert gate.batches == [[1], list(range(2, 10)), list(range(10, 14))]
    await threads.stop()


async def test_the_loop_runs_while_a_job_does() -> None:
    gate = Gate()
    threads = await started(gate)
    answer = threads.submit(1)
    asyncio.get_running_loop().call_soon(gate.opened.set)  # only a free loop gets to this
    async with asyncio.timeout(DEADLINE):
        assert await answer == 2
    await threads.stop()


async def test_a_cancelled_job_is_carried_out() -> None:
    gate = Gate()
    threads = await started(gate)
    first, second, third = (threads.submit(number) for number in (1, 2, 3))
    first.cancel()
    second.cancel()
    gate.opened.set()
    assert await third == 6
    assert sorted(job for batch in gate.batches for job in batch) == [1, 2, 3]
    await threads.stop()


async def test_stopping_drains_and_refuses() -> None:
    gate = Gate()
    threads = await started(gate)
    accepted = [threads.submit(number) for number in range(10)]
    gate.opened.set()
    await threads.stop()
    assert [future.result() for future in accepted] == [2 * number for number in range(10)]
    with pytest.raises(StoreError):
        threads.submit(1)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(sqlite3.OperationalError("no"), StoreError), (ZeroDivisionError(), ZeroDivisionError)],
)
async def test_a_defect_reaches_the_callers_and_ends_nothing(
    raised: Exception, expected: type[Exception]
) -> None:
    def fail(_: sqlite3.Connection, jobs: Sequence[int]) -> list[int | StoreError]:
        if jobs[0] == 0:
            raise raised
        return list(jobs)

    threads: Threads[int, int] = Threads("test", count=2, most=1, connect=connect, carry_out=fail)
    await threads.start()
    for _ in range(3):
        with pytest.raises(expected):
            await threads.submit(0)
        assert await threads.submit(1) == 1
    await threads.stop()


async def test_a_connection_that_fails_is_the_starters_error() -> None:
    def refuse() -> sqlite3.Connection:
        raise PermissionError("no")

    threads: Threads[int, int] = Threads(
        "test", count=1, most=1, connect=refuse, carry_out=lambda _, jobs: list(jobs)
    )
    with pytest.raises(StoreError):
        await threads.start()
    with pytest.raises(StoreError):
        threads.submit(1)


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    connecting, may_connect = threading.Event(), threading.Event()
    connections: list[sqlite3.Connection] = []

    def connect_late() -> sqlite3.Connection:
        connecting.set()
        assert may_connect.wait(DEADLINE)
        connections.append(sqlite3.connect(":memory:", check_same_thread=False))
        return connections[-1]

    threads: Threads[int, int] = Threads(
        "test", count=2, most=1, connect=connect_late, carry_out=lambda _, jobs: list(jobs)
    )
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        starting = group.create_task(threads.start())
        assert await asyncio.to_thread(connecting.wait, DEADLINE)
        starting.cancel()
        asyncio.get_running_loop().call_soon(may_connect.set)
    assert starting.cancelled()
    async with asyncio.timeout(DEADLINE):
        await threads.stop()
    [connection] = connections
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    with pytest.raises(StoreError):
        threads.submit(1)


async def test_after_a_start_that_failed_it_can_be_started() -> None:
    broken = [True]

    def connect_later() -> sqlite3.Connection:
        if broken[0]:
            raise PermissionError("no")
        return connect()

    threads: Threads[int, int] = Threads(
        "test", count=1, most=1, connect=connect_later, carry_out=lambda _, jobs: list(jobs)
    )
    with pytest.raises(StoreError):
        await threads.start()
    broken[0] = False
    await threads.start()
    async with asyncio.timeout(DEADLINE):
        assert await threads.submit(1) == 1
        await threads.stop()
