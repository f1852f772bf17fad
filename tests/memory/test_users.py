"""Whose memories a key has is written down, and read again, whatever happens in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from memgpt_proxy.memory import users as users_module
from memgpt_proxy.memory.erasing import Eraser
from memgpt_proxy.memory.users import NOTED_SECONDS, Users
from memgpt_proxy.stores.events import LocalEvents
from memgpt_proxy.stores.portable import StoredPassage
from memgpt_proxy.stores.records import Holdings, Namespace
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.trace_writer import TraceWriter
from tests.stores.switched import Switch

REGISTER, OTHER = Namespace("of a key"), Namespace("of another")
ANN, BOB = Namespace("ann"), Namespace("bob")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Late(SqliteStore):
    """A store that has something happen before the register is erased."""

    before_last: Callable[[], Awaitable[None]]

    async def erase(self, namespace: Namespace) -> Holdings:
        if namespace == REGISTER:
            await self.before_last()
        return await super().erase(namespace)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "memory.db")
    await store.open()
    yield store
    await store.close()


async def written(users: Users, register: Namespace = REGISTER) -> list[Namespace]:
    return sorted([user async for user in users.of(register)])


async def test_each_key_has_its_own(store: SqliteStore) -> None:
    users = Users(store)
    for user in (ANN, BOB, ANN):
        await users.note(REGISTER, user)
    await users.note(OTHER, Namespace("eve"))
    assert await written(users) == [ANN, BOB]
    assert await written(Users(store), OTHER) == ["eve"]
    assert await written(users, Namespace("of nobody")) == []


async def test_there_may_be_more_than_a_page(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_module, "_PAGE", 3)
    users = Users(store)
    many = [Namespace(f"user {number:02}") for number in range(7)]
    for user in many:
        await users.note(REGISTER, user)
    assert await written(users) == many


async def test_who_was_erased_elsewhere_is_written_down_again(store: SqliteStore) -> None:
    clock = Clock()
    users = Users(store, clock)
    await users.note(REGISTER, ANN)
    await store.erase(REGISTER)
    clock.now += NOTED_SECONDS
    await users.note(REGISTER, ANN)
    assert await written(users) == [ANN]


async def test_who_was_erased_here_is_written_down_at_once(store: SqliteStore) -> None:
    users = Users(store, Clock())
    await users.note(REGISTER, ANN)
    await store.erase(REGISTER)
    users.forget(ANN)
    await users.note(REGISTER, ANN)
    assert await written(users) == [ANN]


async def test_a_store_that_fails_is_asked_again(store: SqliteStore) -> None:
    switch = Switch(store)
    users = Users(switch.store, Clock())
    switch.here = False
    await users.note(REGISTER, ANN)
    switch.here = True
    assert await written(users) == []
    await users.note(REGISTER, ANN)
    assert await written(users) == [ANN]


async def test_few_are_kept_in_mind(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "_MOST_NOTED", 2)
    users = Users(store, Clock())
    many = [Namespace(f"user {number}") for number in range(5)]
    for user in many * 2:
        await users.note(REGISTER, user)
    assert await written(users) == many


async def test_who_has_nothing_left_is_written_down_at_once(store: SqliteStore) -> None:
    """Another process has erased the register, and all that the user had."""
    users = Users(store, Clock())
    await users.note(REGISTER, ANN)
    await store.erase(REGISTER)
    await users.note(REGISTER, ANN, anew=True)
    assert await written(users) == [ANN]


async def test_an_entry_has_no_text_that_could_be_embedded(store: SqliteStore) -> None:
    await Users(store).note(REGISTER, ANN)
    [entry] = [record async for part in store.export(owner_of(REGISTER)) for record in part.records]
    assert isinstance(entry, StoredPassage)
    assert entry.passage.text == ""


async def test_who_comes_while_all_are_erased_stays_written_down(tmp_path: Path) -> None:
    """Cid is new, ann says something once she is erased: both have something then."""
    store = Late(tmp_path / "memory.db")
    await store.open()
    users, eraser = Users(store, Clock()), Eraser(store, TraceWriter(store), LocalEvents())
    for user in (ANN, BOB):
        await users.note(REGISTER, user)

    async def come() -> None:
        for user in (Namespace("cid"), ANN):
            await users.note(REGISTER, user)

    store.before_last = come
    _, count = await eraser.erase_all(OTHER, REGISTER, users)
    assert count == 2
    assert await written(users) == [ANN, "cid"]
    await store.close()
