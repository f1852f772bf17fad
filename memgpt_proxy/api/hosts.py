"""The names that a gateway of this machine alone may be asked by.

A page of the internet can have its own host's name mean this machine (*DNS rebinding*). To the
browser the gateway is then where the page came from: it asks for no preflight, and the page reads
every answer. What it cannot change is that its name stands in ``Host``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from memgpt_proxy.api.replies import send_error
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import HostNotAllowed

_PORT = re.compile(rb":(\d*|\*)$")
_NOBODYS = re.compile(
    rb"\[[0-9a-f:.]+\]|[0-9.]+|[^.:]*|.+\.(localhost|local|internal)", re.IGNORECASE
)
"""What no page of the internet has as its host's name: an address, which is not looked up; and what
nobody can register there: a name without a dot, and those of RFC 6761, RFC 6762 and ICANN's
resolution 2024.07.29.06."""


class Hosts:
    """Knows by which hosts the gateway may be asked.

    Args:
        origins: Of pages that may use the gateway, as ``CrossOrigin`` takes them: where they are
            let in, their hosts are too.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        told = [origin.encode("ascii") for origin in origins]
        self._any = b"*" in told
        self._named = frozenset(_name(origin.partition(b"://")[2]) for origin in told)

    def around(self, app: ASGIApp, headers: RawHeaders) -> ASGIApp:
        """Return what answers a request in place of ``app``; no browser leaves its host out."""
        for name, value in headers:
            if name == b"host" and not self._allows(_name(value)):
                return _refuse
        return app

    def _allows(self, name: bytes) -> bool:
        return bool(_NOBODYS.fullmatch(name)) or self._any or name.lower() in self._named


def _name(host: bytes) -> bytes:
    """Return a host without its port, and without the dot that may end it."""
    return _PORT.sub(b"", host).removesuffix(b".")


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    await send_error(send, HostNotAllowed(host.decode("ascii", "replace")))
