"""What an image's health check runs."""

from __future__ import annotations

import os
import subprocess
import sys

from memgpt_proxy.config import Settings
from memgpt_proxy.health import DEFAULT_PORT
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import free_port


def check(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memgpt_proxy.health"],
        env={**os.environ, "MEMGPT_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


def test_a_gateway_that_lives(gateway: GatewayProcess) -> None:
    checked = check(gateway.port)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_nobody_is_there() -> None:
    port = free_port()
    checked = check(port)
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"no answer at port {port}: ")
    assert checked.stderr.count("\n") == 1


def test_something_else_is_there(backend_server: ScriptedBackend) -> None:
    checked = check(int(backend_server.base_url.split(":")[2].split("/")[0]))
    assert checked.returncode == 1
    assert checked.stderr == "/healthz answers with 404\n"


def test_the_port_is_the_gateways() -> None:
    assert int(DEFAULT_PORT) == Settings.model_fields["port"].default
