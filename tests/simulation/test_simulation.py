"""Random clients against the whole gateway: see ``tests.simulation.simulation``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.client import Kind
from tests.simulation.simulation import Simulation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(6))
async def test_clients_of_all_kinds(tmp_path: Path, seed: int):
    async with Simulation(tmp_path, seed) as simulation:
        await simulation.run(60)


@pytest.mark.parametrize("kind", Kind)
async def test_clients_of_one_kind(tmp_path: Path, kind: Kind):
    async with Simulation(tmp_path, 100, kinds=(kind,), most=2) as simulation:
        await simulation.run(60)


async def test_a_model_that_replies_in_plain_content(tmp_path: Path):
    async with Simulation(tmp_path, 200, reply_mode="content") as simulation:
        await simulation.run(60)
