"""The URL of a Redis: one server, one that sentinels name, or a cluster.

    redis://[user:password@]host[:port][/db]                           rediss:// with TLS
    unix://[user:password@]/path/of/socket[?db=n]
    redis+sentinel://[user:password@]host[:port],…/service[/db]        rediss+sentinel://
    redis+cluster://[user:password@]host[:port],…                      rediss+cluster://

User and password are percent-encoded where they have to be, and those of the servers:
sentinels are asked without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

Kind = Literal["server", "unix", "sentinel", "cluster"]
Host = tuple[str, int]

SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:?#\[\]]+))(?::(\d{1,5}))?")
_SOCKET = re.compile(r"(/[^?]+)(?:\?db=(\d+))?")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What a URL says.

    Attributes:
        hosts: Servers, sentinels or members of the cluster; none for a socket.
        db: Number of the database.
        service: What sentinels call the service.
        socket: Path of the socket.
    """

    kind: Kind
    hosts: tuple[Host, ...] = ()
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    service: str = ""
    socket: str = ""


def parse(url: str) -> RedisUrl:
    """Return what ``url`` says. Raises ValueError, whose line holds nothing of the URL."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or not rest:
        raise ValueError(f"the Redis URL has to begin with one of {'://, '.join(SCHEMES)}://")
    kind, tls = SCHEMES[scheme]
    authority, slash, path = rest.partition("/")
    credentials, _, named = authority.rpartition("@")
    user, _, password = (unquote(part) for part in credentials.partition(":"))
    place = _socket(named, slash + path) if kind == "unix" else _network(kind, named, path)
    return RedisUrl(kind=kind, tls=tls, username=user or None, password=password or None, **place)


def _socket(named: str, path: str) -> dict[str, str | int]:
    found = _SOCKET.fullmatch(path)
    if named or found is None:
        raise ValueError("the Redis URL has to be unix:///path/of/socket, or that and ?db=number")
    return {"socket": unquote(found[1]), "db": int(found[2] or 0)}


def _network(kind: Kind, named: str, path: str) -> dict[str, object]:
    hosts = tuple(_host(each, _PORTS[kind]) for each in named.split(","))
    if kind == "server" and len(hosts) > 1:
        raise ValueError("a redis:// URL names one host; several are for sentinels and clusters")
    service, _, db = path.rstrip("/").partition("/") if kind == "sentinel" else ("", "", path)
    if kind == "sentinel" and not service:
        raise ValueError("a sentinel URL has to end with the name of the service")
    if kind == "cluster" and db:
        raise ValueError("a cluster has no databases: its URL ends with its hosts")
    if db and not db.isdecimal():
        raise ValueError("the database in the Redis URL has to be a number, and comes last")
    return {"hosts": hosts, "service": unquote(service), "db": int(db or 0)}


def _host(text: str, port: int) -> Host:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found[3] or port) < 65536:
        raise ValueError(
            "the Redis URL has to name hosts as host:port; a / or @ in a password is %2F or %40"
        )
    return found[1] or found[2], int(found[3] or port)
