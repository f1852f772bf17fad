"""The gateway as its users run it: a process of its own, settings by flags and environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import ServerProcess, clean_environment, free_port


class GatewayProcess(ServerProcess):
    """``memgpt-proxy serve`` on a free port, keeping its memory in ``directory``/data.

    Args:
        directory: an existing folder for the data and the log.
        backend_url: where the backend's ``/v1`` is; None leaves the choice to the gateway.
        options: further command line options.
        env: further environment variables, such as ``MEMGPT_CONTEXT_WINDOW``.
    """

    stop_seconds = 40.0
    """Ten for a reply to be stored, and what a supervisor has to give it beyond."""

    def __init__(
        self,
        directory: Path,
        backend_url: str | None,
        *options: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = directory / "data"
        port = free_port()
        command = [sys.executable, "-m", "memgpt_proxy", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(self.data_dir)]
        if backend_url is not None:
            command += ["--backend-url", backend_url]
        super().__init__(
            command=[*command, *options],
            port=port,
            ready_path="/readyz",
            log=directory / "gateway.log",
            env=clean_environment(**(env or {})),
        )
