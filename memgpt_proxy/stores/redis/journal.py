"""The journal that replicas share: a stream in Redis, and a lease for the one that drains it.

It is as durable as the server's append-only file.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from memgpt_proxy.stores.codec import encode
from memgpt_proxy.stores.journal import Entry, JournalFull, Waiting
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Namespace, Owner
from memgpt_proxy.stores.redis.circuit import RedisUnavailable
from memgpt_proxy.stores.redis.connection import RedisConnection, Script
from memgpt_proxy.stores.redis.durability import losses, servers
from memgpt_proxy.stores.storable import owner_of

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
"""How long a drainer is waited for that says nothing: it may be dead, or at a slow write."""

MOST_READ = 256
"""Entries that are read at once, of all that wait."""

_APPEND = Script(
    "keep",
    """
local size = tonumber(redis.call('GET', KEYS[2]) or '0')
for at = 3, #ARGV, 2 do size = size + #ARGV[at] end
if size > tonumber(ARGV[1]) then return 0 end
for at = 2, #ARGV, 2 do
    redis.call('XADD', KEYS[1], '*', 'namespace', ARGV[at], 'change', ARGV[at + 1])
end
redis.call('SET', KEYS[2], size)
return 1
""",
)

_DONE = Script(
    "done",
    """
for at = 1, #ARGV, 2 do
    if redis.call('XDEL', KEYS[1], ARGV[at]) == 1 then
        redis.call('DECRBY', KEYS[2], ARGV[at + 1])
    end
end
""",
)

_PUT_ASIDE = Script(
    "put_aside",
    """
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return end
redis.call('DECRBY', KEYS[2], ARGV[2])
redis.call('XADD', KEYS[3], '*', 'namespace', ARGV[3], 'change', ARGV[4])
""",
)

_LEAD = Script(
    "lead",
    """#!lua flags=allow-oom
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""",
)
"""Allowed where Redis is full: what is drained may be all that makes room."""

_RESIGN = Script(
    "resign",
    """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
""",
)


class RedisJournal:
    """A journal in Redis.

    Args:
        redis: Where it is kept; its owner closes it.
        max_bytes: Bound on what waits; what was put aside does not count.
        lease: Seconds after which another process may drain in place of a silent one.
    """

    name = "redis"
    file: Path | None = None

    def __init__(
        self, redis: RedisConnection, max_bytes: int, *, lease: float = LEASE_SECONDS
    ) -> None:
        self._redis = redis
        self._max_bytes = max_bytes
        self._lease = round(lease * 1000)
        self._token = secrets.token_hex(16)
        kinds = ("waiting", "bytes", "aside", "leader")
        keys = [redis.key(kind, "journal") for kind in kinds]
        self._entries, self._bytes, self._aside, self._leader = keys

    async def open(self) -> None:
        """Warn where the server may lose what waits; one that is away now may be there later."""
        with suppress(RedisUnavailable):
            for loss in {loss for about in await servers(self._redis) for loss in losses(about)}:
                log.warning("Redis: %s", loss)

    async def close(self) -> None:
        """Let another process drain, if this one was."""
        with suppress(StoreUnavailable):
            await self.resign()

    async def append(self, namespace: Namespace, change: Waiting) -> None:
        """Keep a write behind all others. Raises JournalFull."""
        await self.take_over([Entry("", namespace, encode(change))])

    async def take_over(self, entries: Sequence[Entry]) -> None:
        """Keep entries behind all others, all or none of them. Raises JournalFull."""
        kept: list[bytes | float] = [self._max_bytes]
        for entry in entries:
            kept += [entry.namespace.encode("utf-8", "surrogatepass"), entry.data]
        appended = await self._redis.run(_APPEND, [self._entries, self._bytes], kept)
        if not appended:
            raise JournalFull(f"the journal in Redis may hold {self._max_bytes} bytes, and does")

    async def keeps(self) -> bool:
        """Return whether no server loses what waits when it ends."""
        return not any(losses(about) for about in await servers(self._redis))

    async def waiting(self) -> int:
        """Return how many entries wait."""
        return int(await self._redis.execute("XLEN", self._entries))

    async def lead(self) -> bool:
        """Take or renew the lease to drain; False while another process has it."""
        return bool(await self._redis.run(_LEAD, [self._leader], [self._token, self._lease]))

    async def resign(self) -> None:
        """Give the lease back, if this process has it."""
        await self._redis.run(_RESIGN, [self._leader], [self._token])

    async def oldest(self, limit: int, behind: Entry | None = None) -> Sequence[Entry]:
        """Return the entries that have waited longest, oldest first."""
        begin = f"({behind.id}" if behind else "-"
        found = await self._redis.execute("XRANGE", self._entries, begin, "+", "COUNT", limit)
        return [_entry(name, fields) for name, fields in found]

    async def done(self, entries: Sequence[Entry]) -> None:
        """Delete entries, as far as they are still there."""
        told = [each for entry in entries for each in (entry.id, entry.size)]
        await self._redis.run(_DONE, [self._entries, self._bytes], told)

    async def forget(self, owner: Owner) -> None:
        """Delete an owner's entries from both streams."""
        async for entries in self._of(owner, self._entries):
            await self.done(entries)
        async for entries in self._of(owner, self._aside):
            await self.forget_aside(entries)

    async def _of(self, owner: Owner, stream: str) -> AsyncIterator[Sequence[Entry]]:
        """Yield an owner's entries in a stream, some at a time."""
        async for entries in self._all(stream):
            if theirs := [entry for entry in entries if owner_of(entry.namespace) == owner]:
                yield theirs

    async def _all(self, stream: str) -> AsyncIterator[Sequence[Entry]]:
        """Yield a stream's entries, some at a time."""
        behind = "-"
        while True:
            found = await self._redis.execute("XRANGE", stream, behind, "+", "COUNT", MOST_READ)
            if not found:
                return
            yield [_entry(name, fields) for name, fields in found]
            behind = f"({found[-1][0].decode()}"

    async def put_aside(self, entry: Entry) -> None:
        """Move an entry to the stream of those that nobody will ask for."""
        keys = [self._entries, self._bytes, self._aside]
        namespace = entry.namespace.encode("utf-8", "surrogatepass")
        await self._redis.run(_PUT_ASIDE, keys, [entry.id, entry.size, namespace, entry.data])

    async def aside(self) -> Sequence[Entry]:
        """Return what is put aside."""
        return [entry async for entries in self._all(self._aside) for entry in entries]

    async def forget_aside(self, entries: Sequence[Entry]) -> None:
        """Delete these of what is put aside."""
        await self._redis.execute("XDEL", self._aside, *(entry.id for entry in entries))


def _entry(name: bytes, fields: dict[bytes, bytes]) -> Entry:
    namespace = fields[b"namespace"].decode("utf-8", "surrogatepass")
    return Entry(name.decode(), Namespace(namespace), fields[b"change"])
