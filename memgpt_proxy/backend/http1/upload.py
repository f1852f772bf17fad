"""A request's body on its way, as fast as the connection takes it."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httpx

from memgpt_proxy.backend.http1.message import Upload


class Outlet(Protocol):
    """The way out of a connection.

    Attributes:
        full: Whether it takes no more for now.
    """

    full: bool

    def write(self, data: bytes) -> None:
        """Write, unless the connection is closed."""
        ...

    async def drained(self) -> None:
        """Return when more can be written, or never will be."""
        ...


async def send_body(connection: Outlet, upload: Upload | None, timeout: float | None) -> None:
    """Send an upload's parts; return when the connection has taken them.

    Args:
        upload: None if all is written and only has to be taken.
        timeout: For each part, in seconds.

    Raises:
        httpx.WriteTimeout: A part was not taken in time.
        httpx.LocalProtocolError: The parts are not as long as announced.
        Exception: Whatever the stream of parts raises.
    """
    if upload is None:
        await _drain(connection, timeout)
    elif upload.length is None:
        await _send_chunked(connection, upload.stream, timeout)
    else:
        await _send_counted(connection, upload.stream, upload.length, timeout)


async def _send_chunked(
    connection: Outlet, stream: httpx.AsyncByteStream, timeout: float | None
) -> None:
    async for part in stream:
        if part:
            connection.write(b"%x\r\n%b\r\n" % (len(part), part))
            await _drain(connection, timeout)
    connection.write(b"0\r\n\r\n")
    await _drain(connection, timeout)


async def _send_counted(
    connection: Outlet, stream: httpx.AsyncByteStream, length: int, timeout: float | None
) -> None:
    left = length
    async for part in stream:
        left -= len(part)
        if left < 0:
            break
        connection.write(part)
        await _drain(connection, timeout)
    if left:
        raise httpx.LocalProtocolError("The body is not as long as its content-length.")


async def _drain(connection: Outlet, timeout: float | None) -> None:
    if not connection.full:
        return
    try:
        async with asyncio.timeout(timeout):
            await connection.drained()
    except TimeoutError as error:
        raise httpx.WriteTimeout("The request was not taken in time.") from error
