"""The client's side of a connection: its request body, and whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

from memgpt_proxy.errors import RequestTooLarge


class ClientGone(Exception):
    """The client has closed the connection."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Args:
        limit: Its size at the most, in bytes.

    Raises:
        RequestTooLarge: It is larger.
        ClientGone: The client left before its end.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise RequestTooLarge(
                f"The request body is larger than the {limit // 2**20} MiB that this gateway "
                "takes (max_request_mib)."
            )
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else part


async def while_client_stays(
    work: Coroutine[Any, Any, None], watch: Coroutine[Any, Any, None]
) -> None:
    """Run ``work`` to its end, or cancel it when ``watch`` raises ClientGone."""
    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch)
            try:
                await work
            finally:
                watcher.cancel()
    except* ClientGone:
        pass  # there is nobody left to tell
