"""Redis under sentinels, and in a cluster: real servers, one of which dies."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from memgpt_proxy.stores.change_log import NOWHERE, ChangeLog
from memgpt_proxy.stores.changes import Edited
from memgpt_proxy.stores.records import Namespace, WorkingContext
from memgpt_proxy.stores.redis import RedisConnection, RedisLog, RedisUnavailable, connect
from memgpt_proxy.stores.redis import circuit as circuits
from tests.support.process import free_port
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

DEADLINE = 45
SPACES = [Namespace(str(number)) for number in range(20)]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(circuits, "LONGEST_PAUSE", 0.05)


async def answering(redis: RedisConnection, *command: str) -> object:
    """Run a command as soon as it can be; others wait for what happens, not for a time."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                return await redis.execute(*command)
            except RedisUnavailable:
                await asyncio.sleep(0.05)


async def told(text: str, server: RedisServer, *command: str) -> None:
    """Ask a server until its answer has ``text``."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if text in await asyncio.to_thread(server.ask, *command):
                return
            await asyncio.sleep(0.05)


async def write_everywhere(log: ChangeLog) -> None:
    for number, space in enumerate(SPACES):
        joined = await log.join(space)
        change = Edited(WorkingContext(number, "text"))
        await log.append(space, change, upon=NOWHERE, position=NOWHERE)
        news = await log.follow(space, joined.position)
        assert news is not None
        assert [entry.change for entry in news.entries] == [change]


@pytest.fixture
def watched(redis_binary: str, tmp_path: Path) -> Iterator[list[RedisServer]]:
    """A server, its replica, and a sentinel that lets the replica take over at once."""
    with ExitStack() as stack:
        first = stack.enter_context(RedisServer(tmp_path / "first"))
        follows = f"--replicaof 127.0.0.1 {first.port}".split()
        second = stack.enter_context(RedisServer(tmp_path / "second", *follows))
        port = free_port()
        (tmp_path / "sentinel.conf").write_text(
            f"sentinel monitor main 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 2000\n"
        )
        sentinel = RedisServer(tmp_path / "sentinel", port=port)
        sentinel._command = [
            *(redis_binary, str(tmp_path / "sentinel.conf"), "--sentinel"),
            *("--port", str(port), "--bind", "127.0.0.1"),
        ]
        stack.enter_context(sentinel)
        yield [first, second, sentinel]


async def test_another_server_takes_over(watched: list[RedisServer]) -> None:
    first, second, sentinel = watched
    redis = connect(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main")
    log = RedisLog(redis)
    try:
        await answering(redis, "PING")
        await told("master_link_status:up", second, "INFO", "replication")
        await told(str(second.port), sentinel, "SENTINEL", "REPLICAS", "main")
        await write_everywhere(log)
        joined = await log.join(SPACES[0])
        await answering(redis, "WAIT", "1", "0")
        await asyncio.to_thread(first.kill)
        with pytest.raises(RedisUnavailable):
            await log.follow(SPACES[0], joined.position)
        await answering(redis, "SET", "key", "1")
        assert (await redis.execute("INFO", "server"))["tcp_port"] == second.port
        assert await log.follow(SPACES[0], joined.position) is None, "it may lack an entry"
        await write_everywhere(log)
    finally:
        await redis.close()


async def test_a_service_that_no_sentinel_knows(watched: list[RedisServer]) -> None:
    redis = connect(f"redis+sentinel://127.0.0.1:{watched[2].port}/other")
    with pytest.raises(RedisUnavailable):
        await redis.execute("PING")
    await redis.close()


@pytest.fixture
def cluster(redis_binary: str, tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Six servers: three with a third of the keys each, three that can take over."""
    with ExitStack() as stack:
        servers = []
        for number in range(6):
            options = f"--cluster-enabled yes --cluster-port {free_port()}".split()
            quick = "--cluster-node-timeout 1000 --repl-diskless-sync-delay 0".split()
            server = RedisServer(tmp_path / str(number), *options, *quick)
            servers.append(stack.enter_context(server))
        hosts = [f"127.0.0.1:{server.port}" for server in servers]
        subprocess.run(
            [*"redis-cli --cluster-yes --cluster-replicas 1 --cluster create".split(), *hosts],
            check=True,
            capture_output=True,
            timeout=DEADLINE,
        )
        yield servers


@pytest.mark.timeout(150)
async def test_a_cluster_that_loses_a_server(cluster: list[RedisServer]) -> None:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in cluster[:2])
    redis = connect(f"redis+cluster://{hosts}")
    log = RedisLog(redis)
    try:
        for server in cluster:
            await told("cluster_state:ok", server, "CLUSTER", "INFO")
        for server in cluster[3:]:
            await told("master_link_status:up", server, "INFO", "replication")
        await write_everywhere(log)
        joined = await asyncio.gather(*(log.join(space) for space in SPACES))
        positions = {space: news.position for space, news in zip(SPACES, joined, strict=True)}
        await asyncio.to_thread(cluster[0].kill)
        lost = 0
        for space in SPACES:
            async with asyncio.timeout(DEADLINE):
                while True:
                    try:
                        lost += await log.follow(space, positions[space]) is None
                        break
                    except RedisUnavailable:
                        await asyncio.sleep(0.05)
        assert 0 < lost < len(SPACES), "those of the lost server, and no others"
        await write_everywhere(log)
        await log.void()
        for space in SPACES:
            assert await log.follow(space, positions[space]) is None
    finally:
        await redis.close()
