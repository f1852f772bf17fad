"""Whom a replica follows, by a change log that takes down who joins it."""

from __future__ import annotations

from pathlib import Path

from memgpt_proxy.stores.following import MOST_IDLE, Following
from memgpt_proxy.stores.records import Namespace, NodeId, TurnState, WorkingContext
from memgpt_proxy.stores.spaces import Spaces
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.silent_log import SilentLog


async def test_of_namespaces_of_which_nothing_is_remembered_the_ones_used_last_are_followed(
    tmp_path: Path,
) -> None:
    log, spaces = SilentLog(), Spaces(2**20)
    following = Following(log, SqliteStore(tmp_path / "memory.db"), spaces)
    first, second, *others = (Namespace(str(number)) for number in range(MOST_IDLE + 1))
    for namespace in (first, second, *others):
        await following.catch_up(namespace)
    log.joined.clear()
    for namespace in (*others, second, first):
        await following.catch_up(namespace)
    assert log.joined == [first]
    assert log.changes == []


async def test_those_that_are_remembered_are_followed_beside_them(tmp_path: Path) -> None:
    log, spaces = SilentLog(), Spaces(2**20)
    following = Following(log, SqliteStore(tmp_path / "memory.db"), spaces)
    namespaces = [Namespace(str(number)) for number in range(MOST_IDLE + 2)]
    for namespace in namespaces:
        await following.catch_up(namespace)
        if namespace in namespaces[:2]:
            with spaces.reading(namespace) as reading:
                state = TurnState(0, (), None, WorkingContext(0, ""), None)
                spaces.learn(namespace, [NodeId("m0")], state, reading)
    log.joined.clear()
    for namespace in namespaces:
        await following.catch_up(namespace)
    assert log.joined == []
    assert log.changes == []
