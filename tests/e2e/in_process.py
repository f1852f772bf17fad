"""The gateway on a real socket inside the test's process, so that a test can set the date."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings

DEADLINE = 15.0


@dataclass(slots=True)
class Calendar:
    """A clock that stands still until it is set."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def set(self, year: int, month: int, day: int) -> None:
        self.now = datetime(year, month, day, 12, tzinfo=UTC)


@contextmanager
def served(app: Any, **config: Any) -> Iterator[str]:
    """Serve an ASGI application on a free loopback port; gives its origin.

    Args:
        config: More of uvicorn's configuration.
    """
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, ws="none", loop="asyncio", **config)
    )
    # Listening from its creation on: a request that comes before the server runs waits.
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def dated_gateway(
    data_dir: Path, backend_url: str, calendar: Calendar, **settings: Any
) -> Iterator[str]:
    """Serve the gateway with this calendar; gives its base URL."""
    app = create_app(Settings(data_dir=data_dir, **settings), backend_url, clock=calendar)
    with served(app) as origin:
        yield f"{origin}/v1"
