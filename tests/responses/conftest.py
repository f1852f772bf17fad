"""Fixtures: a client of the ``openai`` package with a fresh key, and a model nobody knows yet."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import openai
import pytest

from tests.responses.asking import WAYS, Asker
from tests.support.gateway import GatewayProcess


@pytest.fixture
def model() -> str:
    """A model name of the test's own: what the gateway learns of models is kept by name."""
    return f"model-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def client(gateway: GatewayProcess, api_key: str) -> Iterator[openai.OpenAI]:
    """Somebody new at the shared gateway."""
    with openai.OpenAI(base_url=gateway.base_url, api_key=api_key, max_retries=0) as client:
        yield client


@pytest.fixture
def asker(gateway: GatewayProcess, api_key: str, model: str) -> Asker:
    """The same, whose client does not stream."""
    return Asker(gateway.base_url, api_key, model)


@pytest.fixture(params=WAYS.values(), ids=[*WAYS])
def anyone(request: pytest.FixtureRequest, asker: Asker) -> Asker:
    """The same, by each way of the package."""
    asker.way = request.param
    return asker
