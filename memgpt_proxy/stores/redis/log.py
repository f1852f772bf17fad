"""The change log in Redis: one stream per namespace, short, gone after an hour without changes.

A position is the server's run, a slash and the entry's id: after a restart, or where another
server has taken over, entries may be lost that somebody has followed and somebody else has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import randbelow

from memgpt_proxy.stores.change_log import Entry, News, Position
from memgpt_proxy.stores.changes import Change, Uncertain
from memgpt_proxy.stores.codec import decode, encode
from memgpt_proxy.stores.records import Namespace, Owner
from memgpt_proxy.stores.redis.connection import RedisConnection, Script
from memgpt_proxy.stores.storable import owner_of

MOST_ENTRIES = 64
MOST_BYTES = 64 << 10
"""A change that takes more is told as uncertain."""

IDLE_SECONDS = 3600

RECENT_SECONDS = 2
"""Longer than a store takes until its searches find what was written."""

_NOW = """
local about = redis.call('INFO', 'server')
local run = string.match(about, 'run_id:(%x+)')
local time = redis.call('TIME')
local now = time[1]
"""

_ADD = """
local function add(by_chance, ...)
    local id = '*'
    if redis.call('EXISTS', KEYS[1]) == 0 then
        id = string.format('%.0f-%s', now * 1000 + math.floor(time[2] / 1000), by_chance)
    end
    return redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[2], id, ...)
end
"""
"""A stream that is made again has other ids than before, within the same millisecond too."""

_BEHIND = """
local function behind(position)
    local known, id = string.match(position, '^(%x+)/(.+)$')
    if known ~= run then return false end
    local entries = redis.call('XRANGE', KEYS[1], id, '+')
    if not entries[1] or entries[1][1] ~= id then return false end
    table.remove(entries, 1)
    return entries
end
"""

_JOIN = Script(
    "join",
    f"""{_NOW}{_ADD}
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local id = last and last[1] or add(ARGV[3], 'joined', '')
if not last then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
local uptime = string.match(about, 'uptime_in_seconds:(%d+)')
return {{run .. '/' .. id, last and 1 or 0, now, uptime}}
""",
)

_FOLLOW = Script("follow", f"{_NOW}{_BEHIND} return {{run, now, behind(ARGV[1])}}")

_APPEND = Script(
    "tell",
    f"""{_NOW}{_ADD}{_BEHIND}
local entries = behind(ARGV[4])
local id = add(ARGV[3], 'upon', ARGV[5], 'change', ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {{run, now, entries, id}}
""",
)

_UNCERTAIN = encode(Uncertain())


class RedisLog:
    """The change log of a fleet.

    Args:
        redis: Where it is kept.
    """

    def __init__(self, redis: RedisConnection) -> None:
        self._redis = redis

    async def join(self, namespace: Namespace) -> News:
        """Return the log's end; make it where there is none."""
        position, found, now, uptime = await self._redis.run(
            _JOIN, [self._key(namespace)], [IDLE_SECONDS, MOST_ENTRIES, randbelow(2**32)]
        )
        end = Position(position.decode())
        last = _seconds(end) if found else await self._began(int(now))
        return News(end, recent=min(int(uptime), int(now) - last) <= RECENT_SECONDS)

    async def follow(self, namespace: Namespace, position: Position) -> News | None:
        """Return what is behind a position, in one round trip."""
        run, now, found = await self._redis.run(_FOLLOW, [self._key(namespace)], [position])
        return _news(run.decode(), int(now), found, position)

    async def append(
        self, namespace: Namespace, change: Change, *, upon: Position, position: Position
    ) -> News | None:
        """Tell others of a change; return what was between it and ``position``."""
        told = encode(change)
        if len(told) > MOST_BYTES:
            told = _UNCERTAIN
        run, now, found, id_ = await self._redis.run(
            _APPEND,
            [self._key(namespace)],
            [IDLE_SECONDS, MOST_ENTRIES, randbelow(2**32), position, upon, told],
        )
        news = _news(run.decode(), int(now), found, position)
        return News(_position(run.decode(), id_), news.entries, news.recent) if news else None

    async def forget(self, owner: Owner) -> None:
        """Delete a stream."""
        await self._redis.execute("UNLINK", self._redis.key("log", owner))

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._redis.execute("PING")

    async def void(self) -> None:
        """Delete all streams."""
        await self._redis.delete_all("log")

    def _key(self, namespace: Namespace) -> str:
        return self._redis.key("log", owner_of(namespace))

    async def _began(self, now: int) -> int:
        """Return when this Redis was empty: a log may be missing since, or from long silence."""
        key = self._redis.key("log-began", "")
        began = await self._redis.execute("SET", key, now, "NX", "GET")
        return now if began is None else int(began)


def _news(
    run: str,
    now: int,
    found: Sequence[tuple[bytes, Sequence[bytes]]] | None,
    position: Position,
) -> News | None:
    if found is None:
        return None
    entries = [_entry(_position(run, id_), fields) for id_, fields in found]
    end = entries[-1].at if entries else position
    return News(end, entries, bool(entries) and now - _seconds(end) <= RECENT_SECONDS)


def _entry(at: Position, fields: Sequence[bytes]) -> Entry:
    """Return an entry; one that cannot be read, perhaps of another release, is uncertain."""
    told = dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        change = decode(told[b"change"])
    except (KeyError, ValueError):
        change = Uncertain()
    return Entry(at, Position(told.get(b"upon", b"").decode()), change)


def _position(run: str, id_: bytes) -> Position:
    return Position(f"{run}/{id_.decode()}")


def _seconds(position: Position) -> int:
    """Return when an entry was written, by Redis' clock."""
    return int(position.partition("/")[2].partition("-")[0]) // 1000
