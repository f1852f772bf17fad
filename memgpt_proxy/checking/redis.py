"""Redis: reachable, of which version, and whether it keeps what it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.api.authentication import SECRET_FILE, read_secret, secret_of
from memgpt_proxy.checking.findings import Finding, fail, milliseconds, ok, told, warn
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.redis.circuit import RedisUnavailable
from memgpt_proxy.stores.redis.connection import RedisConnection, connect
from memgpt_proxy.stores.redis.durability import losses, servers
from memgpt_proxy.stores.redis.sharing import last_mark
from memgpt_proxy.stores.redis.url import RedisUrl, parse
from memgpt_proxy.stores.secret_mark import mark

PART = "Redis"

OLDEST_MAJOR = 7
"""The first release whose ``SET`` takes ``NX`` and ``GET`` together."""

CLOCK_SECONDS = 2.0
"""Difference of clocks that is told of."""

_MODES = {
    "server": "one server",
    "unix": "one server",
    "sentinel": "sentinel",
    "cluster": "cluster",
}


async def redis(settings: Settings) -> Sequence[Finding]:
    """Look at the Redis of ``redis_url``."""
    if settings.redis_url is None:
        return [warn(PART, "redis_url is not set: replicas would not hear of each other's writes")]
    url = settings.redis_url.get_secret_value()
    try:
        said = parse(url)
        connection = connect(url, settings.redis_ca_file)
    except ValueError as error:
        return [fail(PART, told(error))]
    try:
        return await _looked_at(said, connection, await asyncio.to_thread(_secret, settings))
    except RedisUnavailable as error:
        return [fail(PART, f"{_place(said)}: {told(error)}{_advice(told(error))}")]
    finally:
        await connection.close()


def _secret(settings: Settings) -> bytes | None:
    """Return the secret of the namespaces, where there is one: a check makes none."""
    try:
        if settings.namespace_secret is not None:
            return secret_of(settings)
        return read_secret(settings.data_dir / SECRET_FILE)
    except (OSError, ValueError):
        return None  # which is another check's to tell


async def _looked_at(
    said: RedisUrl, connection: RedisConnection, secret: bytes | None
) -> list[Finding]:
    told_by = await servers(connection)
    took = await _round_trip(connection)
    findings = [_server(said, told_by, took)]
    for about in told_by:
        findings += _about(about)
    findings += await _clock(connection)
    findings += await _shared(connection, secret)
    findings += await _written(connection)
    return list(dict.fromkeys(findings))  # servers of a cluster are mostly set alike


async def _round_trip(connection: RedisConnection) -> str:
    began = time.perf_counter()
    await connection.execute("EXISTS", connection.key("check", ""))
    return milliseconds(time.perf_counter() - began)


def _server(said: RedisUrl, servers: Sequence[Mapping[str, Any]], took: str) -> Finding:
    versions = sorted({str(about.get("redis_version", "?")) for about in servers})
    many = f", {len(servers)} primaries" if said.kind == "cluster" else ""
    about = f"{_place(said)}: version {', '.join(versions)}, {_MODES[said.kind]}{many} ({took})"
    old = [version for version in versions if not _is_recent(version)]
    return (
        fail(PART, f"{about}: Redis {OLDEST_MAJOR} or newer is needed") if old else ok(PART, about)
    )


def _is_recent(version: str) -> bool:
    major = version.partition(".")[0]
    return major.isdecimal() and int(major) >= OLDEST_MAJOR


def _about(about: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with how a server is set."""
    found = []
    if about.get("role") == "slave":
        found.append(fail(PART, "it is a replica, which takes no writes: name its primary"))
    if about.get("loading"):
        found.append(warn(PART, "it is loading what it has kept; until then it answers nothing"))
    found += [warn(PART, loss) for loss in losses(about)]
    return found


async def _written(connection: RedisConnection) -> list[Finding]:
    """Write a key that goes by itself."""
    try:
        await connection.execute("SET", connection.key("check", ""), "1", "EX", 1)
    except RedisUnavailable as error:
        return [fail(PART, f"it cannot be written to: {told(error)}")]
    return []


async def _shared(connection: RedisConnection, secret: bytes | None) -> list[Finding]:
    """Compare the secret with that of the gateway that was started last."""
    other = await last_mark(connection)
    if secret is None or other in (None, mark(secret)):
        return []
    return [
        warn(
            PART,
            "a gateway with another namespace_secret was started last there: the two would share"
            " nothing; set the same one for all replicas",
        )
    ]


async def _clock(connection: RedisConnection) -> list[Finding]:
    async with connection.using() as client:
        seconds, micros = await client.time()
    ahead = seconds + micros / 1e6 - time.time()
    if abs(ahead) < CLOCK_SECONDS:
        return []
    return [warn(PART, f"its clock is {ahead:+.1f} seconds off this machine's: use NTP on both")]


def _place(said: RedisUrl) -> str:
    """Return where it is, without user and password."""
    hosts = ",".join(f"{host}:{port}" for host, port in said.hosts)
    return f"{said.socket or hosts}{f'/{said.service}' if said.service else ''}"


def _advice(error: str) -> str:
    if "NoPermission" in error:
        return ": allow its user all commands on memgpt:*, and INFO, TIME and scripts"
    if "Authentication" in error or "NOAUTH" in error or "NOPERM" in error:
        return ": check user and password in redis_url"
    return ": is it running, and redis_url right?"
