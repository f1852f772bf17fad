"""A way through a proxy, opened by ``CONNECT`` (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import asyncio
import re

from memgpt_proxy.backend.http1.origin import Origin, authority
from memgpt_proxy.backend.http1.proxies import Proxy, ProxyFailed

_HEAD_AT_MOST = 64 * 1024
_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class ProxyAnswer(asyncio.Protocol):
    """A connection to a proxy, until its answer's head is there.

    Attributes:
        head: What has arrived by then; an OSError where none came.
    """

    def __init__(self) -> None:
        self.head: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self.head.done():
            return
        if _END in self._data:
            self.head.set_result(self._data)
        elif len(self._data) > _HEAD_AT_MOST:
            self.head.set_exception(OSError("its answer's head is too large"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.head.done():
            self.head.set_exception(error or OSError("it closed the connection without an answer"))
            self.head.exception()  # nobody may wait for it any more


async def open_tunnel(
    transport: asyncio.Transport, answer: ProxyAnswer, proxy: Proxy, origin: Origin
) -> None:
    """Have a proxy connect to an origin; what is sent afterwards reaches that.

    Raises:
        ProxyFailed: It refuses, or does not answer as a proxy.
    """
    place = authority(origin).encode("ascii")
    lines = [b"CONNECT %b HTTP/1.1" % place, b"Host: " + place]
    if proxy.authorization:
        lines.append(b"Proxy-Authorization: " + proxy.authorization)
    transport.write(b"\r\n".join(lines) + _END)
    try:
        head = await answer.head
    except OSError as error:
        raise ProxyFailed(f"{proxy} gives no answer: {error}") from error
    status = _STATUS.match(head)
    if status is None:
        raise ProxyFailed(f"{proxy} does not answer as a proxy does")
    if not 200 <= int(status[1]) < 300:
        raise proxy.refusal(origin, int(status[1]))
    if not head.endswith(_END):
        raise ProxyFailed(f"{proxy} goes on where the backend should speak")
