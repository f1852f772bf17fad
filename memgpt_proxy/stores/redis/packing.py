"""The driver's connections, but that commands become bytes in C.

The driver reads answers with hiredis, and writes commands in Python of its own: a thirtieth of
what a turn of a fleet executes.
"""

from __future__ import annotations

import hiredis
from redis.asyncio import Connection, SSLConnection
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection


class _Packing(AbstractConnection):
    def pack_command(self, *args: str | bytes | float) -> list[bytes]:
        """Return a command as bytes. Raises UnicodeEncodeError for half a character."""
        return [hiredis.pack_command(args)]


class OverTcp(_Packing, Connection):
    """A connection to a host."""


class OverTls(_Packing, SSLConnection):
    """A connection to a host, encrypted."""


class OverSocket(_Packing, UnixDomainSocketConnection):
    """A connection on the same machine."""
