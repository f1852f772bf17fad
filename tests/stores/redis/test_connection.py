"""Connections to real Redis servers, that come and go."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from memgpt_proxy.stores.measured import Timed
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.redis import RedisConnection, RedisUnavailable, connect
from memgpt_proxy.stores.redis import circuit as circuits
from memgpt_proxy.stores.redis.batches import MOST_TOGETHER
from memgpt_proxy.stores.redis.connection import MOST_AT_ONCE, Script
from memgpt_proxy.telemetry import Telemetry
from tests.support.process import free_port
from tests.support.redis_server import RedisServer
from tests.support.scrape import samples

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@asynccontextmanager
async def connected(url: str, ca_file: Path | None = None) -> AsyncIterator[RedisConnection]:
    connection = connect(url, ca_file)
    try:
        yield connection
    finally:
        await connection.close()


async def test_commands_and_scripts(redis_server: RedisServer) -> None:
    async with connected(f"{redis_server.url}/1") as redis:
        key = redis.key("kind", "name")
        assert key == "memgpt:kind:{name}"
        await redis.execute("SET", key, b"\xff")
        script = Script("script", "return {redis.call('GET', KEYS[1]), ARGV[1]}")
        for _ in range(2):
            assert await redis.run(script, [key], ["argument"]) == [b"\xff", b"argument"]
        async with redis.using() as client:
            assert await client.get(key) == b"\xff"
        await redis.execute("SET", redis.key("other", "name"), 1)
        await redis.delete_all("kind")
        assert await redis.execute("KEYS", "*") == [b"memgpt:other:{name}"]


async def test_commands_and_scripts_are_timed() -> None:
    telemetry = Telemetry()
    away = connect(f"redis://127.0.0.1:{free_port()}", timing=Timed("redis", telemetry))
    for asked in (away.execute("PING"), away.run(Script("script", "return 1"), ["key"], [])):
        with pytest.raises(RedisUnavailable):
            await asked
    await away.close()
    assert calls(telemetry) == {
        ("PING", "RedisUnavailable"): 1,
        ("script", "RedisUnavailable"): 1,
    }


async def test_a_script_is_timed_once(redis_server: RedisServer) -> None:
    """Also where the server does not know it yet, and is sent it."""
    telemetry = Telemetry()
    redis = connect(redis_server.url, timing=Timed("redis", telemetry))
    await redis.execute("SCRIPT", "FLUSH")
    assert await redis.run(Script("script", "return 1"), ["key"], []) == 1
    await redis.close()
    assert calls(telemetry) == {("SCRIPT", ""): 1, ("script", ""): 1}


def calls(telemetry: Telemetry) -> dict[tuple[str, str], float]:
    """How often what was asked of Redis, and what came of it."""
    return {
        (each.labels["db_operation_name"], each.labels["error_type"]): each.value
        for each in samples(telemetry.exposition("")[0].decode())
        if each.name == "db_client_operation_duration_seconds_count"
        and each.labels["db_system_name"] == "redis"
    }


async def test_more_than_the_connections_wait_for_one(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as redis:
        answers = [redis.execute("ECHO", number) for number in range(5 * MOST_AT_ONCE)]
        async with asyncio.timeout(20):
            assert await asyncio.gather(*answers) == [
                str(number).encode() for number in range(5 * MOST_AT_ONCE)
            ]
        clients = await redis.execute("INFO", "clients")
        assert clients["connected_clients"] <= MOST_AT_ONCE + 1


async def test_scripts_that_wait_share_a_request(redis_server: RedisServer) -> None:
    script = Script("script", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
    count = 5 * MOST_TOGETHER + 10
    async with connected(redis_server.url) as redis:
        await redis.run(script, ["loaded"], [1])
        before = (await redis.execute("INFO", "stats"))["total_reads_processed"]
        left = asyncio.get_running_loop().create_task(redis.run(script, ["left"], [7]))
        wrong = [redis.run(script, ["wrong"], ["no number"]) for _ in range(3)]
        right = [redis.run(script, [redis.key("n", str(n))], [n]) for n in range(count)]
        answers = asyncio.gather(*right, *wrong, return_exceptions=True)
        await asyncio.sleep(0)
        left.cancel()
        async with asyncio.timeout(20):
            told = await answers
        assert told[:count] == list(range(count))
        assert [type(each) for each in told[count:]] == [RedisUnavailable] * 3
        after = (await redis.execute("INFO", "stats"))["total_reads_processed"]
        assert after - before < count / 10
        assert await redis.execute("GET", "left") == b"7"


async def test_nothing_listens(redis_binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(f"redis://ann:secret@127.0.0.1:{free_port()}") as redis:
        with pytest.raises(StoreUnavailable) as refused:
            await redis.execute("PING")
        assert "secret" not in str(refused.value)
        with pytest.raises(RedisUnavailable, match="a moment ago"):
            await redis.execute("PING")
        assert redis.away


async def test_one_that_answers_is_not_away(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as redis:
        await redis.execute("PING")
        assert not redis.away


async def test_a_wrong_command_tells_nothing_of_its_arguments(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as redis:
        with pytest.raises(RedisUnavailable) as refused:
            await redis.execute("UNHEARD", "private words")
        assert "private" not in str(refused.value)


async def test_killed_and_started_again(
    redis_binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "FIRST_PAUSE", 0.0)
    with RedisServer(tmp_path) as server:
        async with connected(server.url) as redis:
            await redis.execute("SET", "key", 1)
            server.kill()
            with pytest.raises(RedisUnavailable):
                await redis.execute("GET", "key")
            server.start()
            assert await redis.execute("GET", "key") == b"1"
            await asyncio.to_thread(server.restart)
            assert await redis.execute("GET", "key") == b"1"


async def test_a_server_that_is_full_is_told_of_once_and_when_that_is_over(
    redis_binary: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """``noeviction``: what takes memory is refused, what does not is carried out."""
    caplog.set_level("INFO", "memgpt_proxy.stores.redis.circuit")
    now = [100.0]
    write = Script("script", "return redis.call('SET', KEYS[1], ARGV[1])")
    with RedisServer(tmp_path, "--maxmemory-policy", "noeviction") as server:
        redis = connect(server.url, circuit=circuits.Circuit(lambda: now[0]))
        try:
            server.ask("CONFIG", "SET", "maxmemory", "1")
            refused = 0
            for _ in range(30):  # ten minutes
                now[0] += 20.0
                with suppress(RedisUnavailable):
                    await redis.execute("GET", "key")
                try:
                    await redis.run(write, ["key"], [1])
                except RedisUnavailable:
                    refused += 1
                assert redis.away
            assert refused == 30
            for _ in range(30):  # and ten in which nobody writes
                now[0] += 20.0
                with suppress(RedisUnavailable):
                    await redis.execute("GET", "key")
            [full] = caplog.messages
            assert full.startswith("Redis is full")
            server.ask("CONFIG", "SET", "maxmemory", "0")
            for _ in range(10):
                now[0] += 20.0
                await redis.run(write, ["key"], [1])
            assert caplog.messages == [full, "Redis is back"]
            assert not redis.away
        finally:
            await redis.close()


async def test_a_server_at_its_limit_is_not_told_of_with_every_write(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "memgpt_proxy.stores.redis.circuit")
    now = [100.0]
    redis = connect(redis_server.url, circuit=circuits.Circuit(lambda: now[0]))
    try:
        for _ in range(20):
            for maxmemory in ("1", "0"):
                redis_server.ask("CONFIG", "SET", "maxmemory", maxmemory)
                now[0] += circuits.CALM_SECONDS / 2
                with suppress(RedisUnavailable):
                    await redis.execute("SET", "key", 1)
        assert len(caplog.messages) == 1
    finally:
        redis_server.ask("CONFIG", "SET", "maxmemory", "0")
        await redis.close()


async def test_a_server_that_hangs(redis_binary: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with connected(server.url) as redis:
            await redis.execute("PING")
            assert server._process is not None
            server._process.send_signal(signal.SIGSTOP)
            try:
                async with asyncio.timeout(10):
                    answers = [redis.execute("GET", "key") for _ in range(3 * MOST_AT_ONCE)]
                    results = await asyncio.gather(*answers, return_exceptions=True)
            finally:
                server._process.send_signal(signal.SIGCONT)
            assert {type(result) for result in results} == {RedisUnavailable}


async def test_a_caller_that_leaves_takes_no_connection_along(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as redis:
        for _ in range(3 * MOST_AT_ONCE):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await redis.execute("PING")
        assert await redis.execute("ECHO", "mine") == b"mine"


async def test_password_and_socket(redis_binary: str, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    options = ["--requirepass", "secret", "--unixsocket", str(path)]
    with RedisServer(tmp_path / "server", *options) as server:
        for url in (f"redis://:secret@127.0.0.1:{server.port}", f"unix://:secret@{path}?db=1"):
            async with connected(url) as redis:
                assert await redis.execute("PING") in (True, b"PONG")
        async with connected(f"redis://:wrong@127.0.0.1:{server.port}") as redis:
            with pytest.raises(RedisUnavailable, match="AuthenticationError"):
                await redis.execute("PING")


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and its key."""
    key, made = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=redis".split(),
            *f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {made}".split(),
        ],
        check=True,
        capture_output=True,
    )
    return key, made


async def test_tls(redis_binary: str, tmp_path: Path) -> None:
    key, made = certificate(tmp_path)
    port = free_port()
    options = f"--port 0 --tls-port {port} --tls-auth-clients no --tls-key-file {key}".split()
    options += ["--tls-cert-file", str(made), "--tls-ca-cert-file", str(made)]
    with RedisServer(tmp_path / "server", *options, port=port) as server:
        url = f"rediss://127.0.0.1:{server.port}"
        async with connected(url, made) as redis:
            assert await redis.execute("PING") in (True, b"PONG")
        async with connected(url) as redis:
            with pytest.raises(RedisUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await redis.execute("PING")


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ValueError, match=name):
            connect("rediss://127.0.0.1", tmp_path / name)
