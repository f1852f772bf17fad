"""Responses of the demo backend, which makes up its mind by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.demo.server import create_app as create_demo
from tests.e2e.in_process import served
from tests.responses.asking import WAYS, Asker

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path, api_key: str) -> Iterator[Asker]:
    """Somebody at a gateway in front of the demo backend."""
    with served(create_demo()) as backend:
        app = create_app(Settings(data_dir=tmp_path), f"{backend}/v1")
        with served(app) as origin:
            yield Asker(f"{origin}/v1", api_key, "demo")


@pytest.mark.parametrize("way", WAYS.values(), ids=[*WAYS])
def test_the_demo_model_remembers(demo: Asker, way):
    demo.way = way
    first = demo.ask("My name is Sam.")
    assert demo.ask("What is my name?").output_text == "Your name is Sam."
    again = demo.ask("What is my name?", previous_response_id=first.id)
    assert again.output_text == "Your name is Sam."
