"""The driver's connections, but that commands become bytes in C.

The driver reads answers with hiredis, and writes commands in Python of its own: a thirtieth of
what a turn of a fleet executes.
"""

from __future__ import annotations

import hiredis
from redis.asyncio import Connection, SSLConnection
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection
from redis.typing import EncodableT


class _Packing(AbstractConnection):
    def pack_command(self, *args: EncodableT) -> list[bytes]:
        """Return a command as bytes. Raises UnicodeEncodeError for half a character."""
        return [hiredis.pack_command(args)]  # type: ignore[arg-type]  # its types know one word only


class OverTcp(_Packing, Connection):
    """A connection to a host."""


class OverTls(_Packing, SSLConnection):
    """A connection to a host, encrypted."""


class OverSocket(_Packing, UnixDomainSocketConnection):
    """A connection on the same machine."""
