"""The HTTP server: uvicorn, told to stop by signals and stopping in order."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import FrameType

import click
import uvicorn

from memgpt_proxy.app import Gateway

_BACKLOG = 2048
_COMMIT_SECONDS = 10.0
"""How long turns that are ended by the stop may take to store what was said."""


class Server(uvicorn.Server):
    """Serves until SIGINT or SIGTERM; then lets running replies finish, within a bound.

    A second signal ends them at once. What was said by then is stored either way.

    Args:
        app: What is served.
        grace: Seconds that running replies have to finish.
    """

    def __init__(self, app: Gateway, grace: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level=logging.ERROR,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=grace,
                backlog=_BACKLOG,
            )
        )
        self._grace = grace

    async def run_to_end(self, listener: socket.socket) -> None:
        """Serve on ``listener``; return once every turn has ended and is stored."""
        await self.serve(sockets=[listener])
        if left := set(self.server_state.tasks):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_COMMIT_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first stops in order, the second at once."""
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = True
        if self.server_state.tasks:
            click.echo(
                f"Stopping: running replies have {self._grace} s to finish. "
                "Signal again (Ctrl+C) to end them now.",
                err=True,
            )
