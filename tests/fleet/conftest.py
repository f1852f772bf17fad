"""Fleets of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleets
from tests.support.backend import ScriptedBackend


@pytest.fixture
def fleets(
    elasticsearch_binaries: Path, redis_binary: Path, tmp_path: Path, backend: ScriptedBackend
) -> Iterator[Fleets]:
    """Starts fleets: ``fleets.start(replicas=2, nodes=1)``."""
    started = Fleets(elasticsearch_binaries, tmp_path, backend)
    yield started
    started.end()
