"""Whose memories a key has is written down, and read again, whatever happens in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memgpt_proxy.memory import users as users_module
from memgpt_proxy.memory.users import NOTED_SECONDS, Users
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.switched import Switch

REGISTER, OTHER = Namespace("of a key"), Namespace("of another")
ANN, BOB = Namespace("ann"), Namespace("bob")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


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
