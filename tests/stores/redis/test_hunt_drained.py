"""Replicas with journals: what waited at one is stored by another, and nobody is told."""

from __future__ import annotations
from pathlib import Path
from dataclasses import replace
import pytest
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.records import Conversation, NodeId
from memgpt_proxy.stores.redis import RedisLog, connect
from memgpt_proxy.stores.redis.journal import RedisJournal
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import ALICE, branch, record, passage
from tests.stores.switched import Switch
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]
NAME = NodeId("name")
NEVER = (3600.0, 3600.0)


async def test_what_waited_is_seen_by_replicas_that_read_before_it_was_stored(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    redis_server.ask("FLUSHALL")
    switches, replicas, connections = [], [], []
    for _ in range(2):
        redis = connect(redis_server.url)
        switch = Switch(SqliteStore(tmp_path / "memory.db"), opens=True)
        journaled = JournaledStore(
            switch.store, [RedisJournal(redis, 2**20)], Telemetry(), probes=NEVER
        )
        hot = HotStore(journaled, 2**20, RedisLog(redis))
        if hasattr(journaled, "tell"):
            journaled.tell(hot.stored_late)
        replicas.append((hot, journaled))
        switches.append(switch)
        connections.append(redis)
    (here, here_journaled), (there, there_journaled) = replicas
    await here.open()
    await there.open()
    nodes = branch(["hello", "hi", "how are you", "fine"])
    said = lambda tip: Conversation(NAME, tip, False)
    await here.commit(ALICE, record(*nodes[:2], conversation=said(nodes[1].id), created=1.0))
    switches[0].here = False  # the store is away for one replica, and a turn's writes wait
    await here.commit(ALICE, record(*nodes[2:], conversation=said(nodes[3].id), created=2.0))
    await here.insert_passages(ALICE, [passage("p", "kept")])
    assert here.degraded

    # The store is back, and before it has what waits the other replica reads.
    switches[0].here = True
    assert (await there.conversation(ALICE, NAME)).tip == nodes[1].id
    turn = await there.read_turn(ALICE, [nodes[1].id], enough=1)
    assert [each.id for each in turn.after] == []

    assert await here_journaled.come_back()  # now it is all stored
    assert not here.degraded
    plain = SqliteStore(tmp_path / "memory.db")
    await plain.open()
    wanted = await plain.conversation(ALICE, NAME)
    expected = await plain.read_turn(ALICE, [nodes[1].id], enough=1)
    await plain.close()
    found = await there.conversation(ALICE, NAME)
    turn = await there.read_turn(ALICE, [nodes[1].id], enough=1)
    print("store:", wanted, "hot:", found)
    print(
        "store:",
        [n.id for n in expected.after],
        expected.counts,
        "hot:",
        [n.id for n in turn.after],
        turn.counts,
    )
    for store, _ in replicas:
        await store.close()
    for each in connections:
        await each.close()
    assert found == wanted
    assert turn.after == expected.after
