"""Draining: a gateway that is being stopped ends what it has begun and begins nothing new.

::

    serving ── begin() ──▶ not ready, takes requests still ── refuse() ──▶ takes none
"""

from __future__ import annotations

import asyncio


class Draining:
    """Whether the gateway is being stopped, and what it waits for then.

    Attributes:
        begun: It is being stopped: it says that it is not ready, and closes connections.
        refuses: It takes no more requests.
        running: Requests of clients that are being answered.
    """

    def __init__(self) -> None:
        self.begun = False
        self.refuses = False
        self.running = 0
        self._idle = asyncio.Event()

    def begin(self) -> None:
        """Be ready no longer. May be called by a signal's handler."""
        self.begun = True

    def refuse(self) -> None:
        """Take no more requests."""
        self.begun = self.refuses = True
        if not self.running:
            self._idle.set()

    def entered(self) -> None:
        """A request is being answered from now on."""
        self.running += 1

    def left(self) -> None:
        """A request has been answered, and what belongs to it is done."""
        self.running -= 1
        if self.refuses and not self.running:
            self._idle.set()

    async def idle(self) -> None:
        """Return once nothing is running any more. Call ``refuse`` before."""
        await self._idle.wait()
