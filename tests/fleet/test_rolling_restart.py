"""Replicas of a fleet are replaced one after the other under load: all is kept, nobody refused."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.fleet.talking import Crowd, numbered_replies, remembered, settled, stored_once
from tests.support.backend import ScriptedBackend
from tests.support.round_robin import balanced

pytestmark = [
    pytest.mark.elasticsearch,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

PEOPLE = 6


async def test_nothing_is_lost_in_a_rolling_restart(fleets, backend: ScriptedBackend) -> None:
    fleet = await asyncio.to_thread(fleets.start, "--drain-delay-seconds", "1")
    numbered_replies(backend)
    async with balanced(fleet.replicas) as (balancer, url):

        async def happens(crowd: Crowd) -> None:
            for replica in fleet.replicas:
                await crowd.acknowledge(30)
                os.kill(replica.pid, signal.SIGTERM)
                await balancer.until(replica, ready=False)
                await crowd.acknowledge(30)
                assert await asyncio.to_thread(replica.wait_for_end) == 0
                await crowd.acknowledge(30)
                await asyncio.to_thread(replica.start)
                await balancer.until(replica, ready=True)
            await crowd.acknowledge(30)

        crowd = Crowd([url], PEOPLE, seed=7)
        await crowd.during(happens)
    assert crowd.refused == 0
    assert crowd.degraded == 0
    await settled(fleet)
    await remembered(crowd, fleet.urls[0], backend)
    await stored_once(crowd, fleet)
