"""The journal that replicas share: a stream in Redis, and a lease for the one that drains it.

It is as durable as the server's append-only file; ``is_append_only`` tells whether there is one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from memgpt_proxy.stores.codec import encode
from memgpt_proxy.stores.journal import Entry, JournalFull, Waiting
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Namespace

LEASE_SECONDS = 15.0
"""How long a drainer is waited for that says nothing: it may be dead, or at a slow write."""

APPEND = """
local size = tonumber(redis.call('GET', KEYS[2]) or '0') + #ARGV[2]
if size > tonumber(ARGV[3]) then return 0 end
redis.call('XADD', KEYS[1], '*', 'namespace', ARGV[1], 'change', ARGV[2])
redis.call('SET', KEYS[2], size)
return 1
"""

DONE = """
for at = 1, #ARGV, 2 do
    if redis.call('XDEL', KEYS[1], ARGV[at]) == 1 then
        redis.call('DECRBY', KEYS[2], ARGV[at + 1])
    end
end
"""

PUT_ASIDE = """
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return end
redis.call('DECRBY', KEYS[2], ARGV[2])
redis.call('XADD', KEYS[3], '*', 'namespace', ARGV[3], 'change', ARGV[4])
"""

LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

RESIGN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class RedisJournal:
    """A journal in Redis.

    Args:
        redis: A client that leaves answers as bytes, and whose pool waits for a free connection;
            its owner closes it.
        max_bytes: Bound on what waits; what was put aside does not count.
        prefix: What the names of the keys begin with.
        lease: Seconds after which another process may drain in place of a silent one.
    """

    name = "redis"

    def __init__(
        self,
        redis: Redis,
        max_bytes: int,
        *,
        prefix: str = "memgpt",
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._redis = redis
        self._max_bytes = max_bytes
        self._lease = round(lease * 1000)
        self._token = secrets.token_hex(16)
        names = ("entries", "bytes", "aside", "leader")
        keys = [f"{{{prefix}:journal}}:{name}" for name in names]  # one slot of a cluster
        self._entries, self._bytes, self._aside, self._leader = keys
        self._append = redis.register_script(APPEND)
        self._done = redis.register_script(DONE)
        self._put_aside = redis.register_script(PUT_ASIDE)
        self._lead = redis.register_script(LEAD)
        self._resign = redis.register_script(RESIGN)

    async def open(self) -> None:
        """Nothing is needed: a server that is away now may be there later."""

    async def close(self) -> None:
        """Let another process drain, if this one was."""
        with suppress(StoreUnavailable), _mapped():
            await self._resign([self._leader], [self._token])

    async def append(self, namespace: Namespace, change: Waiting) -> None:
        """Keep a write behind all others. Raises JournalFull."""
        kept: list[bytes | int] = [
            namespace.encode("utf-8", "surrogatepass"),
            encode(change),
            self._max_bytes,
        ]
        with _mapped():
            appended = await self._append([self._entries, self._bytes], kept)
        if not appended:
            raise JournalFull(f"the journal in Redis may hold {self._max_bytes} bytes, and does")

    async def waiting(self) -> int:
        """Return how many entries wait."""
        with _mapped():
            return int(await self._redis.xlen(self._entries))

    async def lead(self) -> bool:
        """Take or renew the lease to drain; False while another process has it."""
        with _mapped():
            return bool(await self._lead([self._leader], [self._token, self._lease]))

    async def oldest(self, limit: int) -> Sequence[Entry]:
        """Return the entries that have waited longest, oldest first."""
        with _mapped():
            found = await self._redis.xrange(self._entries, count=limit)
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", found)
        return [_entry(name, fields) for name, fields in entries]

    async def done(self, entries: Sequence[Entry]) -> None:
        """Delete entries, as far as they are still there."""
        told = [each for entry in entries for each in (entry.id, entry.size)]
        with _mapped():
            await self._done([self._entries, self._bytes], told)

    async def put_aside(self, entry: Entry) -> None:
        """Move an entry to the stream of those that nobody will ask for."""
        keys = [self._entries, self._bytes, self._aside]
        namespace = entry.namespace.encode("utf-8", "surrogatepass")
        with _mapped():
            await self._put_aside(keys, [entry.id, entry.size, namespace, entry.data])


async def is_append_only(redis: Redis) -> bool:
    """Return whether the server keeps an append-only file. Raises StoreUnavailable."""
    with _mapped():
        persistence = await redis.info("persistence")
    return bool(persistence["aof_enabled"])


@contextmanager
def _mapped() -> Iterator[None]:
    """Tell callers of Redis's errors by their own: it is away, full or misconfigured."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"Redis is unavailable: {error}") from error


def _entry(name: bytes, fields: dict[bytes, bytes]) -> Entry:
    namespace = fields[b"namespace"].decode("utf-8", "surrogatepass")
    return Entry(name.decode(), Namespace(namespace), fields[b"change"])
