"""Places at a backend: in order, bounded, and never lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.backend.slots import Slots
from memgpt_proxy.errors import BackendBusy


class Counted:
    """Slots, and what they have told."""

    def __init__(self, limit: int = 1, most_waiting: int = 10, seconds: float = 60.0) -> None:
        self.waiting: list[int] = []
        self.slots = Slots(limit, most_waiting, seconds, self.waiting.append)
        self.holding = 0
        self.most = 0
        self.order: list[int] = []

    async def hold(self, name: int, until: asyncio.Event, *, fails: bool = False) -> None:
        async with self.slots.taken():
            self.order.append(name)
            self.holding += 1
            self.most = max(self.most, self.holding)
            try:
                await until.wait()
                if fails:
                    raise LookupError
            finally:
                self.holding -= 1


async def settled() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_comes_first_is_served_first() -> None:
    counted, over = Counted(limit=2), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in range(5):
            group.create_task(counted.hold(name, over))
        await settled()
        assert counted.order == [0, 1]
        assert counted.waiting[-1] == 3
        over.set()
    assert counted.order == [0, 1, 2, 3, 4]
    assert (counted.most, counted.waiting[-1]) == (2, 0)


async def test_a_full_line_is_refused_and_told_when_to_come_again() -> None:
    counted, over = Counted(most_waiting=1, seconds=7), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in range(2):
            group.create_task(counted.hold(name, over))
        await settled()
        with pytest.raises(BackendBusy) as busy:
            await counted.hold(2, over)
        assert busy.value.status == 503
        assert dict(busy.value.headers) == {b"retry-after": b"7"}
        over.set()
    assert counted.order == [0, 1]


async def test_who_waits_too_long_is_refused() -> None:
    counted, over = Counted(seconds=0.01), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(counted.hold(0, over))
        await settled()
        with pytest.raises(BackendBusy):
            await counted.hold(1, over)
        assert counted.waiting[-1] == 0
        over.set()


async def test_who_leaves_the_line_is_not_served() -> None:
    counted, over = Counted(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(counted.hold(0, over))
        leaver = group.create_task(counted.hold(1, over))
        group.create_task(counted.hold(2, over))
        await settled()
        leaver.cancel()
        await settled()
        assert counted.waiting[-1] == 1
        over.set()
    assert counted.order == [0, 2]


Steps = st.lists(
    st.tuples(st.sampled_from(["come", "cancel", "end", "fail", "turn"]), st.integers(0, 30)),
    max_size=60,
)


@given(limit=st.integers(1, 3), most_waiting=st.integers(0, 4), steps=Steps)
def test_no_place_is_ever_lost(limit: int, most_waiting: int, steps: list[tuple[str, int]]) -> None:
    asyncio.run(_lived_through(limit, most_waiting, steps))


async def _lived_through(limit: int, most_waiting: int, steps: list[tuple[str, int]]) -> None:
    counted = Counted(limit, most_waiting)
    running: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    async def guest(name: int, over: asyncio.Event) -> None:
        with suppress(BackendBusy, LookupError):
            await counted.hold(name, over, fails=name % 3 == 0)

    async with asyncio.TaskGroup() as group:
        for kind, number in steps:
            if kind == "come":
                over = asyncio.Event()
                running.append((group.create_task(guest(number, over)), over))
            elif kind == "turn":
                await asyncio.sleep(0)
            elif running:
                task, over = running[number % len(running)]
                over.set() if kind in ("end", "fail") else task.cancel()
            assert counted.holding <= limit
        for _, over in running:
            over.set()
    # All have left: as many as there are places come in at once, and nobody waits.
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in range(limit):
            group.create_task(counted.hold(name, over))
        await settled()
        assert counted.holding == limit
        over.set()
    assert not counted.waiting or counted.waiting[-1] == 0
