"""Where a connection leads: scheme, host and port."""

from __future__ import annotations

import httpx

Origin = tuple[str, str, int]
"""Scheme (http or https), host and port."""

PORTS = {"http": 80, "https": 443}
"""The schemes that are spoken, with their usual ports."""


def origin_of(url: httpx.URL) -> Origin:
    """Return where a URL leads; raises httpx.UnsupportedProtocol for what is no web address."""
    scheme = url.scheme
    if scheme not in PORTS:
        raise httpx.UnsupportedProtocol(f"Not http or https: {scheme!r}.")
    host = url.raw_host.decode("ascii")
    if not host:
        raise httpx.UnsupportedProtocol("There is no host in the address.")
    return scheme, host, url.port or PORTS[scheme]


def authority(origin: Origin) -> str:
    """Return host and port as they are written together."""
    _, host, port = origin
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
