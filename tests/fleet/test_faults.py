"""Parts of a fleet die under load: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.fleet.talking import Crowd, numbered_replies, remembered, settled, stored_once
from tests.support.backend import ScriptedBackend

pytestmark = [
    pytest.mark.elasticsearch,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

PEOPLE = 6


async def test_elasticsearch_is_killed_under_load(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start)
    numbered_replies(backend)
    (node,) = fleet.nodes
    chance = random.Random(1)

    async def happens(crowd: Crowd) -> None:
        for _ in range(3):
            await crowd.acknowledge(chance.randrange(20, 60))
            await asyncio.to_thread(node.kill)
            await crowd.acknowledge(chance.randrange(20, 60))
            with crowd.unhurried():
                await asyncio.to_thread(lambda: node.start().wait())
        await crowd.acknowledge(20)

    crowd = Crowd(fleet.urls, PEOPLE, seed=1)
    await crowd.during(happens)
    assert crowd.degraded, "what was answered meanwhile was marked"
    await settled(fleet)
    await remembered(crowd, fleet.urls[0], backend)
    await stored_once(crowd, fleet)


async def test_elasticsearch_hangs_under_load(fleets, backend: ScriptedBackend) -> None:
    """It answers nothing and closes nothing, until it is killed and started anew."""
    fleet = await asyncio.to_thread(fleets.start)
    numbered_replies(backend)
    (node,) = fleet.nodes

    async def happens(crowd: Crowd) -> None:
        await crowd.acknowledge(40)
        node.pause()
        await crowd.acknowledge(40)
        with crowd.unhurried():
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(lambda: node.start().wait())
        await crowd.acknowledge(20)

    crowd = Crowd(fleet.urls, PEOPLE, seed=7)
    await crowd.during(happens)
    assert crowd.degraded, "what was answered meanwhile was marked"
    await settled(fleet)
    await remembered(crowd, fleet.urls[0], backend)
    await stored_once(crowd, fleet)


async def test_redis_is_killed_under_load(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start)
    numbered_replies(backend)
    chance = random.Random(2)

    async def happens(crowd: Crowd) -> None:
        for _ in range(6):
            await crowd.acknowledge(chance.randrange(10, 60))
            await asyncio.to_thread(fleet.redis.kill)
            await crowd.acknowledge(chance.randrange(10, 60))
            await asyncio.to_thread(fleet.redis.start)
        await crowd.acknowledge(20)

    crowd = Crowd(fleet.urls, PEOPLE, seed=2)
    await crowd.during(happens)
    await settled(fleet)
    await remembered(crowd, fleet.urls[1], backend)
    await stored_once(crowd, fleet)


async def test_redis_is_flushed_under_load(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start)
    numbered_replies(backend)

    async def happens(crowd: Crowd) -> None:
        for _ in range(6):
            await crowd.acknowledge(25)
            await asyncio.to_thread(fleet.flush)
        await crowd.acknowledge(25)

    crowd = Crowd(fleet.urls, PEOPLE, seed=3)
    await crowd.during(happens)
    await settled(fleet)
    await remembered(crowd, fleet.urls[0], backend)
    await stored_once(crowd, fleet)


async def test_replicas_are_killed_under_load(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start, replicas=3)
    numbered_replies(backend)
    chance = random.Random(4)

    async def happens(crowd: Crowd) -> None:
        for _ in range(8):
            await crowd.acknowledge(chance.randrange(1, 40))
            replica = chance.choice(fleet.replicas)
            await asyncio.to_thread(replica.kill)
            await crowd.acknowledge(chance.randrange(1, 20))
            await asyncio.to_thread(replica.start)
        await crowd.acknowledge(20)

    crowd = Crowd(fleet.urls, PEOPLE, seed=4)
    await crowd.during(happens)
    await settled(fleet)
    for url in fleet.urls:
        await remembered(crowd, url, backend)
    await stored_once(crowd, fleet)


async def test_a_cluster_loses_its_master_under_load(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start, nodes=3)
    numbered_replies(backend)

    async def happens(crowd: Crowd) -> None:
        for _ in range(2):
            await crowd.acknowledge(40)
            master = await asyncio.to_thread(fleet.master)
            await asyncio.to_thread(master.kill)
            await crowd.acknowledge(60)
            with crowd.unhurried():
                await asyncio.to_thread(lambda killed: killed.start().wait(nodes=3), master)
        await crowd.acknowledge(20)

    crowd = Crowd(fleet.urls, PEOPLE, seed=5)
    await crowd.during(happens)
    await settled(fleet)
    await remembered(crowd, fleet.urls[0], backend)
    await stored_once(crowd, fleet)


async def test_everything_dies_at_once(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start)
    numbered_replies(backend)
    (node,) = fleet.nodes

    async def happens(crowd: Crowd) -> None:
        await crowd.acknowledge(40)
        await asyncio.to_thread(node.kill)
        await crowd.acknowledge(40)
        for part in (fleet.redis, *fleet.replicas):
            await asyncio.to_thread(part.kill)
        await asyncio.to_thread(fleet.redis.start)
        await asyncio.to_thread(lambda: node.start().wait())
        for replica in fleet.replicas:
            await asyncio.to_thread(replica.start)
        await crowd.acknowledge(20)

    crowd = Crowd(fleet.urls, PEOPLE, seed=6)
    await crowd.during(happens)
    await settled(fleet)
    await remembered(crowd, fleet.urls[0], backend)
    await stored_once(crowd, fleet)
