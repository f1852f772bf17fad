"""The gateway as a process: ready when started, gone when ended, then back at the same address."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess


def test_it_serves_until_it_is_stopped(backend: ScriptedBackend, start_gateway):
    gateway = start_gateway()
    assert httpx.get(f"{gateway.origin}/healthz").status_code == 200
    assert gateway.base_url in gateway.log()
    # A server that was ended by a signal, in order, says so by its status.
    assert gateway.stop() in (0, -signal.SIGTERM)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{gateway.origin}/healthz")


def test_it_comes_back_at_the_same_address_after_a_kill(start_gateway):
    gateway: GatewayProcess = start_gateway()
    first = gateway.pid
    gateway.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    gateway.start()
    assert gateway.pid != first
    assert httpx.get(f"{gateway.origin}/readyz").status_code == 200
    assert gateway.data_dir.is_dir()
