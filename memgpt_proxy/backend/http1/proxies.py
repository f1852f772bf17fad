"""Which proxy leads out to a host, as ``HTTPS_PROXY`` and its like say."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from memgpt_proxy.backend.http1.origin import PORTS, Origin, authority, origin_of

_REMEMBERED_ORIGINS = 1024
_UNUSABLE = (
    "has to be the URL of an HTTP proxy, such as http://proxy.example.org:3128; special characters"
    " of a user or a password are written as in URLs, @ as %40"
)
_SOCKS = "names a SOCKS proxy, which is not spoken here: name an HTTP proxy"


class ProxyFailed(httpx.ProxyError):
    """There is no way through a proxy.

    Attributes:
        status: That with which it refuses; 0 where it does not come to an answer.
    """

    status = 0


class UnusableProxy(ProxyFailed):
    """A variable does not name an HTTP proxy; the message says which, and never its value."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        origin: Where it is.
        authorization: What it is told of who asks, as ``Proxy-Authorization`` has it; may be empty.
    """

    origin: Origin
    authorization: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return f"the proxy at {self.origin[0]}://{authority(self.origin)}"

    def refusal(self, origin: Origin, status: int) -> ProxyFailed:
        """Return the error for a status with which it does not let through to an origin."""
        why = ""
        if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            taken = "does not take the user and password of its URL"
            why = f": it {taken if self.authorization else 'asks for user and password'}"
        error = ProxyFailed(f"{self} refuses the way to {authority(origin)}{why} ({status})")
        error.status = status
        return error


class Proxies:
    """The proxies that an environment names: none, where it names none.

    ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` are read, in small letters
    first, then in capitals. This machine is never reached through a proxy.

    Args:
        environment: Names and values of variables.
        own_host: The address that this process listens at, which is this machine too.
    """

    def __init__(self, environment: Mapping[str, str], own_host: str = "") -> None:
        self._named = {
            scheme: named
            for scheme in PORTS
            if (named := _named(environment, f"{scheme}_proxy", "all_proxy"))
        }
        _, without = _named(environment, "no_proxy") or ("", "")
        entries = re.split(r"[\s,]+", f"{without},{own_host}")
        self._exempt = tuple(_exemption(entry) for entry in entries if entry)
        self.to = lru_cache(_REMEMBERED_ORIGINS)(self._to)

    def to_url(self, url: str) -> Proxy | None:
        """Return the proxy on the way to a URL of http or https, if any. Raises UnusableProxy."""
        return self.to(origin_of(httpx.URL(url)))

    def _to(self, origin: Origin) -> Proxy | None:
        """Return the proxy on the way to an origin, if any. Raises UnusableProxy."""
        scheme, host, port = origin
        named = self._named.get(scheme)
        if named is None or self._is_exempt(host.rstrip("."), port):
            return None
        return _proxy(*named)

    def _is_exempt(self, host: str, port: int) -> bool:
        address = _address(host)
        return _is_this_machine(host, address) or any(
            exemption.holds(host, address, port) for exemption in self._exempt
        )


@dataclass(frozen=True, slots=True)
class _Exemption:
    """An entry of ``no_proxy``.

    Attributes:
        name: A host, with all that are below it, or ``*`` for any.
        network: What it is if it is an address, or a range of them.
        port: The only one that is meant, if any.
    """

    name: str
    network: IPv4Network | IPv6Network | None
    port: int | None

    def holds(self, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.name == "*":
            return True
        if self.network is not None or address is not None:
            return address is not None and self.network is not None and address in self.network
        return f".{host}".endswith(f".{self.name}")


def _exemption(entry: str) -> _Exemption:
    name, _, port = entry.rpartition(":")
    if not port.isdecimal() or (":" in name and not name.startswith("[")) or not name:
        name, port = entry, ""
    name = name.strip("[]").lower().removeprefix("*.").strip(".")
    try:
        network = ip_network(name, strict=False)
    except ValueError:
        network = None
    return _Exemption(name, network, int(port) if port else None)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_this_machine(host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return f".{host}".endswith(".localhost")


def _named(environment: Mapping[str, str], *names: str) -> tuple[str, str] | None:
    """Return the first of these variables that has a value, as it is spelt, and its value."""
    for name in names:
        spelling = name if name in environment else name.upper()
        if value := environment.get(spelling, "").strip():
            return spelling, value
    return None


def _proxy(variable: str, value: str) -> Proxy:
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
        if url.scheme.startswith("socks"):
            raise UnusableProxy(f"{variable} {_SOCKS}")
        if url.path not in ("", "/") or url.query or url.fragment:
            raise UnusableProxy(f"{variable} {_UNUSABLE}")  # it may be the rest of a password
        origin = origin_of(url)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise UnusableProxy(f"{variable} {_UNUSABLE}") from None  # which may tell a password
    if not url.userinfo:
        return Proxy(origin)
    who = f"{url.username}:{url.password}".encode()
    return Proxy(origin, b"Basic " + b64encode(who))


DIRECTLY = Proxies({})
"""No proxy leads anywhere."""
