"""Connections to Redis: few, with short time limits, and a pause after an error."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    NoScriptError,
    OutOfMemoryError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from memgpt_proxy.stores.redis.batches import Batches, Command
from memgpt_proxy.stores.redis.circuit import Circuit, RedisFull, RedisUnavailable
from memgpt_proxy.stores.redis.packing import OverSocket, OverTcp, OverTls
from memgpt_proxy.stores.redis.url import RedisUrl, parse

CONNECT_SECONDS = 1.0
COMMAND_SECONDS = 0.5
WHOLE_SECONDS = 2.0
"""For what is done at once, with finding the server and connecting."""

MOST_AT_ONCE = 64
"""Commands under way to Redis, each on a connection of its own; others wait."""

Client: TypeAlias = "Redis | RedisCluster"


Timing = Callable[[str, Awaitable[Any]], Awaitable[Any]]
"""Returns what comes of what is asked, by what name, and tells how long it took."""


class Script:
    """A Lua script, which runs whole: nothing comes between its commands.

    Args:
        name: What metrics call it.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """One Redis, of whatever kind, that all parts of the process share.

    Args:
        client: The driver's client. For what blocks (subscriptions) use it directly, with
            time limits of your own: ``using`` is for what answers at once.
        prefix: What all keys begin with.
        circuit: What pauses after an error; one of its own if None.
        timing: What times commands and scripts, if anything does.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        circuit: Circuit | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.client = client
        self._prefix = prefix
        self._circuit = circuit or Circuit()
        self._timing = timing or _untimed
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._batches = Batches(self._answers)

    @property
    def away(self) -> bool:
        """Whether it is away, full, or refuses what it is asked."""
        return self._circuit.told

    def key(self, kind: str, name: str) -> str:
        """Return a key; in a cluster, those of one name are on one server."""
        return f"{self._prefix}:{kind}:{{{name}}}"

    @asynccontextmanager
    async def using(self) -> AsyncIterator[Any]:
        """Give the client for a few commands at once; raise RedisUnavailable where it fails."""
        async with self._room:
            with self._circuit.attempt():
                try:
                    async with asyncio.timeout(WHOLE_SECONDS):
                        if self._circuit.may_have_room:
                            await self.client.set(self.key("room", ""), b"", px=1)
                        yield self.client
                except OutOfMemoryError as error:
                    raise RedisFull("Redis is full (its maxmemory)") from error
                except (RedisError, RedisClusterException, OSError) as error:
                    await self._drop_idle()
                    raise RedisUnavailable(f"Redis is unavailable: {_reason(error)}") from error

    async def execute(self, *command: str | bytes | float) -> Any:
        """Run one command. Raises RedisUnavailable."""
        return await self._timing(str(command[0]), self._execute(*command))

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]
    ) -> Any:
        """Run a script on keys of one name. Raises RedisUnavailable.

        It runs even when its caller has left.
        """
        return await self._timing(script.name, self._run(script, keys, args))

    async def _execute(self, *command: str | bytes | float) -> Any:
        async with self.using() as client:
            return await client.execute_command(*command)

    async def _run(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]
    ) -> Any:
        try:
            return await self._batches.run(("EVALSHA", script.digest, len(keys), *keys, *args))
        except NoScriptError:
            return await self._execute("EVAL", script.source, len(keys), *keys, *args)
        except RedisError as error:
            raise RedisUnavailable(f"Redis is unavailable: {_reason(error)}") from error

    async def _answers(self, commands: Sequence[Command]) -> Sequence[Any]:
        """Send commands together, and return an answer, or an error, for each."""
        async with self.using() as client:
            if len(commands) == 1:
                try:
                    return [await client.execute_command(*commands[0])]
                except NoScriptError as error:
                    return [error]
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers: Sequence[Any] = await pipeline.execute(raise_on_error=False)
            failed = [each for each in answers if _is_failure(each)]
            if len(failed) == len(answers):
                raise failed[0]
            return answers

    async def delete_all(self, kind: str) -> None:
        """Delete the keys of a kind, whatever their names. Raises RedisUnavailable."""
        async for key in self._keys(f"{self._prefix}:{kind}:{{*"):
            await self.execute("UNLINK", key)

    async def close(self) -> None:
        """Let what is under way end, then close all connections, those to sentinels too."""
        await self._batches.close()
        await self.client.aclose()
        if isinstance(self.client, Redis):
            pool = self.client.connection_pool
            if isinstance(pool, SentinelConnectionPool):
                await pool.sentinel_manager.aclose()

    async def _drop_idle(self) -> None:
        """Close idle connections after an error: they may be dead too. A cluster's does so."""
        if isinstance(self.client, Redis):
            await self.client.connection_pool.disconnect(inuse_connections=False)

    async def _keys(self, pattern: str) -> AsyncIterator[bytes]:
        try:
            async for key in self.client.scan_iter(match=pattern, count=1000):
                yield key
        except (RedisError, RedisClusterException, OSError) as error:
            raise RedisUnavailable(f"Redis is unavailable: {_reason(error)}") from error


async def _untimed(_: str, asked: Awaitable[Any]) -> Any:
    return await asked


def _is_failure(answer: object) -> bool:
    return isinstance(answer, RedisError) and not isinstance(answer, NoScriptError)


def connect(
    url: str,
    ca_file: Path | None = None,
    *,
    prefix: str = "memgpt",
    circuit: Circuit | None = None,
    timing: Timing | None = None,
) -> RedisConnection:
    """Return the Redis at ``url`` (see ``redis.url``); it is connected to when it is used.

    Args:
        ca_file: Certificates (PEM) that the servers' are checked against, with TLS.
        circuit: What pauses after an error; one of its own if None.
        timing: What times commands and scripts, if anything does.

    Raises ValueError, in one line without user and password, for what cannot be one.
    """
    said = parse(url)
    if ca_file is not None:
        _check_certificates(ca_file)
    return RedisConnection(_client(said, _options(said, ca_file)), prefix, circuit, timing)


def _options(said: RedisUrl, ca_file: Path | None) -> dict[str, Any]:
    """Return the driver's options; it is to fail at once, since others know what to do then."""
    options: dict[str, Any] = {
        "username": said.username,
        "password": said.password,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": COMMAND_SECONDS,
        "max_connections": 2 * MOST_AT_ONCE,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,
        "protocol": 2,
    }
    if said.tls and ca_file is not None:
        options["ssl_ca_certs"] = str(ca_file)
    return options


def _client(said: RedisUrl, options: dict[str, Any]) -> Client:
    kind: type[AbstractConnection]
    match said.kind:
        case "server":
            kind = OverTls if said.tls else OverTcp
            host, port = said.hosts[0]
            options |= {"connection_class": kind, "host": host, "port": port, "db": said.db}
            return Redis.from_pool(ConnectionPool(**options))
        case "unix":
            kind = OverSocket
            options |= {"connection_class": kind, "path": said.socket, "db": said.db}
            return Redis.from_pool(ConnectionPool(**options))
        case "sentinel":
            return _sentinel(said, options)
        case "cluster":
            members = [ClusterNode(host, port) for host, port in said.hosts]
            return RedisCluster(startup_nodes=members, ssl=said.tls, **options)


def _sentinel(said: RedisUrl, options: dict[str, Any]) -> Redis:
    network = ("socket", "ssl", "retry", "protocol")
    asked = {name: value for name, value in options.items() if name.startswith(network)}
    sentinel = Sentinel(said.hosts, sentinel_kwargs={**asked, "ssl": said.tls})  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(said.service, ssl=said.tls, db=said.db, **options)
    return client


def _check_certificates(ca_file: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise ValueError(f"{ca_file} cannot be read as certificates: {error.strerror}") from error


def _reason(error: Exception) -> str:
    """Return what went wrong, without what was sent: answers of a server may repeat that."""
    if "WRONG_VERSION_NUMBER" in str(error):
        return "the server does not speak TLS, perhaps redis:// is meant"
    if type(error) in (RedisConnectionError, RedisTimeoutError) or isinstance(error, OSError):
        return str(error) or "it took too long"
    name = type(error).__name__
    code = str(error).partition(" ")[0]
    return f"{name} {code}" if isinstance(error, ResponseError) and code.isupper() else name
