"""Redis, real ones, set in several ways; and old ones, as they tell it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from memgpt_proxy.api.authentication import secret_from
from memgpt_proxy.checking.findings import Finding, Level, fail
from memgpt_proxy.checking.redis import redis
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.redis import connect
from memgpt_proxy.stores.redis.sharing import leave_mark
from memgpt_proxy.stores.secret_mark import mark
from tests.checking.servers import answering, redis_that_says
from tests.support.process import free_port
from tests.support.redis_server import RedisServer

PASSWORD = "not-to-be-shown"


async def looked(url: str | None) -> list[Finding]:
    found = list(await redis(Settings.model_validate({"redis_url": url})))
    assert not any(PASSWORD in str(finding) for finding in found)
    return found


def levels(found: list[Finding]) -> list[Level]:
    return [finding.level for finding in found]


@pytest.mark.redis
async def test_one_that_is_as_it_should_be(redis_server: RedisServer) -> None:
    [finding] = await looked(redis_server.url)
    assert finding.level is Level.OK
    assert f"127.0.0.1:{redis_server.port}: version " in finding.said
    assert "one server" in finding.said


@pytest.mark.redis
async def test_one_that_forgets(redis_binary: str, tmp_path: Path) -> None:
    options = "--appendonly no --maxmemory 100mb --maxmemory-policy allkeys-lru".split()
    with RedisServer(tmp_path, *options) as server:
        found = await looked(server.url)
    assert levels(found) == [Level.OK, Level.WARN, Level.WARN]
    assert "appendonly" in found[1].said
    assert "allkeys-lru" in found[2].said


@pytest.mark.redis
@pytest.mark.parametrize(
    "options",
    [
        "--maxmemory 100mb --maxmemory-policy volatile-lru",
        "--maxmemory 100mb --maxmemory-policy noeviction",
        "--maxmemory 0 --maxmemory-policy allkeys-lru",
    ],
)
async def test_one_that_evicts_only_what_may_go(
    redis_binary: str, tmp_path: Path, options: str
) -> None:
    with RedisServer(tmp_path, *options.split()) as server:
        assert levels(await looked(server.url)) == [Level.OK]


@pytest.mark.redis
async def test_one_that_is_full(redis_binary: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--maxmemory", "1mb") as server:
        server.ask("SET", "full", "x" * 10)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        found = await looked(server.url)
    assert levels(found) == [Level.OK, Level.FAIL]
    assert "cannot be written to" in found[1].said


@pytest.mark.redis
async def test_passwords(redis_binary: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", PASSWORD) as server:
        port = server.port
        assert levels(await looked(f"redis://:{PASSWORD}@127.0.0.1:{port}")) == [Level.OK]
        for url in (f"redis://:{PASSWORD}x@127.0.0.1:{port}", server.url):
            [finding] = await looked(url)
            assert finding.level is Level.FAIL
            assert "check user and password" in finding.said


@pytest.mark.redis
async def test_a_user_who_may_not_ask_how_it_is_set(redis_binary: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        rights = ("on", f">{PASSWORD}", "~*", "&*", "+@all", "-info")
        assert server.ask("ACL", "SETUSER", "gateway", *rights).startswith("+OK")
        [finding] = await looked(f"redis://gateway:{PASSWORD}@127.0.0.1:{server.port}")
    assert finding.level is Level.FAIL
    assert "allow its user" in finding.said
    assert "INFO" in finding.said


@pytest.mark.redis
async def test_a_replica(redis_server: RedisServer, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(redis_server.port)) as replica:
        found = await looked(replica.url)
    assert fail("Redis", "it is a replica, which takes no writes: name its primary") in found


@pytest.fixture
def cluster(redis_binary: str, tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Three servers that share the slots."""
    servers = [RedisServer(tmp_path / f"{at}", "--cluster-enabled", "yes") for at in range(3)]
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        for at, server in enumerate(servers):
            bounds = [str(at * 16384 // 3), str((at + 1) * 16384 // 3 - 1)]
            assert server.ask("CLUSTER", "ADDSLOTSRANGE", *bounds).startswith("+OK")
            assert server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(at + 1)).startswith("+OK")
            server.ask("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port))
        for server in servers:
            server.wait_for_log("Cluster state changed: ok")
        yield servers


@pytest.mark.slow
@pytest.mark.redis
async def test_a_cluster(cluster: list[RedisServer]) -> None:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in cluster)
    [finding] = await looked(f"redis+cluster://{hosts}")
    assert finding.level is Level.OK, finding
    assert "cluster, 3 primaries" in finding.said
    cluster[1].ask("CONFIG", "SET", "appendonly", "no")
    assert levels(await looked(f"redis+cluster://{hosts}")) == [Level.OK, Level.WARN]


@pytest.fixture
def sentinel(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A sentinel over the server, which it calls ``memory``."""
    (tmp_path / "sentinel").mkdir()
    configuration = tmp_path / "sentinel" / "sentinel.conf"
    configuration.write_text(f"sentinel monitor memory 127.0.0.1 {redis_server.port} 1\n")
    with Sentinel(configuration) as started:
        yield started


class Sentinel(RedisServer):
    def __init__(self, configuration: Path) -> None:
        super().__init__(configuration.parent)
        binary, port = self._command[0], str(self.port)
        self._command = [binary, str(configuration), "--sentinel", "--port", port]


@pytest.mark.slow
@pytest.mark.redis
async def test_sentinels(sentinel: RedisServer) -> None:
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}"
    [finding] = await looked(f"{url}/memory")
    assert finding.level is Level.OK, finding
    assert "sentinel" in finding.said
    [finding] = await looked(f"{url}/another")
    assert finding.level is Level.FAIL


async def test_nothing_listens() -> None:
    [finding] = await looked(f"redis://ann:{PASSWORD}@127.0.0.1:{free_port()}")
    assert finding.level is Level.FAIL
    assert "is it running" in finding.said


async def test_tls_with_a_server_that_speaks_none() -> None:
    with answering({}) as url:
        [finding] = await looked(url.replace("http:", "rediss:"))
    assert finding.level is Level.FAIL
    assert "the server does not speak TLS, perhaps redis:// is meant" in finding.said


async def test_what_is_no_url() -> None:
    [finding] = await looked(f"http://ann:{PASSWORD}@127.0.0.1")
    assert finding.level is Level.FAIL


async def test_none_is_set() -> None:
    [finding] = await looked(None)
    assert finding.level is Level.WARN


@pytest.mark.parametrize(
    ("version", "level"), [("6.2.14", Level.FAIL), ("7.0.0", Level.OK), ("10.1", Level.OK)]
)
async def test_versions(version: str, level: Level) -> None:
    with redis_that_says(f"redis_version:{version}\r\naof_enabled:1\r\nrole:master\r\n") as url:
        about, clock = await looked(url)
    assert about.level is level
    assert f"version {version}" in about.said
    assert clock.level is Level.WARN, "its clock stands at seven seconds past the epoch"
    assert "NTP" in clock.said


@pytest.mark.redis
async def test_another_secret_than_that_of_the_gateway_that_was_started_last(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async def told(secret: str | None, directory: Path = tmp_path) -> list[Finding]:
        given = {"redis_url": redis_server.url, "namespace_secret": secret, "data_dir": directory}
        return list(await redis(Settings.model_validate(given)))

    first, other = "of sixteen characters", "of sixteen others too"
    assert levels(await told(first)) == [Level.OK]
    connection = connect(redis_server.url)
    await leave_mark(connection, mark(secret_from(first)))
    await connection.close()
    assert levels(await told(first)) == [Level.OK]
    assert levels(await told(None)) == [Level.OK], "none is made yet"
    [_, warning] = await told(other)
    assert warning.level is Level.WARN
    assert "another namespace_secret" in warning.said
    (tmp_path / "namespace.secret").write_bytes(b"s" * 32)
    assert levels(await told(None)) == [Level.OK, Level.WARN]
