"""The HTTP server: uvicorn, told to stop by signals and stopping in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from types import FrameType
from typing import Any

import uvicorn

from memgpt_proxy.app import Gateway
from memgpt_proxy.draining import Draining
from memgpt_proxy.timed_http import TimedHttp

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 620
"""How long an idle connection is kept: longer than load balancers keep theirs (Google's 600 s).

Else they send a request into one that is just being closed, and answer it with a 502."""

_BACKLOG = 2048
_COMMIT_SECONDS = 10.0
"""How long turns that are ended by the stop may take to store what was said."""
_CLOSE_SECONDS = 5
"""How long connections may take to close once nothing is running any more."""


class Server(uvicorn.Server):
    """Serves until SIGINT, SIGTERM or SIGHUP; then lets running replies finish, within a bound.

    A second signal ends them at once. What was said by then is stored either way.

    Args:
        app: What is served.
        draining: Told to the application, which refuses requests by it.
        delay: Seconds in which requests are taken still, for load balancers to notice.
        grace: Seconds that running replies have to finish after that.
    """

    def __init__(self, app: Gateway, draining: Draining, *, delay: int, grace: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=TimedHttp,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level=logging.ERROR,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_CLOSE_SECONDS,
                backlog=_BACKLOG,
            )
        )
        self._draining = draining
        self._delay = delay
        self._grace = grace
        self._hurried = asyncio.Event()

    async def run_to_end(self, listener: socket.socket) -> None:
        """Serve on ``listener``; return once every turn has ended and is stored."""
        self._loop = asyncio.get_running_loop()
        with self._hanging_up():
            await self.serve(sockets=[listener])
        if left := set(self.server_state.tasks):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_COMMIT_SECONDS)

    @contextmanager
    def _hanging_up(self) -> Iterator[None]:
        """Take SIGHUP too, which uvicorn does not: the terminal was closed. Not under nohup."""
        before = signal.getsignal(signal.SIGHUP)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self.handle_exit)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first stops in order, the second at once."""
        if self.should_exit:
            self.force_exit = True
            self._loop.call_soon_threadsafe(self._hurried.set)
            return
        self.should_exit = True
        self._draining.begin()
        # Not here: a handler may interrupt a write, and has the context of what it interrupts.
        self._loop.call_soon_threadsafe(self._announce, context=Context())

    def _announce(self) -> None:
        if self._draining.running:
            log.warning(
                "Stopping: running replies have %d s to finish. "
                "Signal again (Ctrl+C) to end them now.",
                self._delay + self._grace,
            )
        else:
            log.info("Stopping: no reply is running.")

    async def main_loop(self) -> None:
        """Serve until a signal comes, then drain; the port is open until this returns."""
        await super().main_loop()
        await self._within(self._delay, self._hurried.wait())
        self._draining.refuse()
        for connection in list(self.server_state.connections):
            if not (isinstance(connection, TimedHttp) and connection.is_fresh):
                connection.shutdown()  # idle ones close now, others after their response
        await self._within(self._grace, self._done())
        if left := self._draining.running:
            log.warning("%d replies are ended by the stop", left)
            self.force_exit = True

    async def _done(self) -> None:
        """Return when nothing is running any more, or a second signal has come."""
        async with asyncio.TaskGroup() as group:
            hurried = group.create_task(self._hurried.wait())
            idle = group.create_task(self._draining.idle())
            await asyncio.wait([hurried, idle], return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            idle.cancel()

    async def _within(self, seconds: float, awaited: Coroutine[Any, Any, object]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await awaited
