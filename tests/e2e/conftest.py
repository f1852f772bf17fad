"""Fixtures of the end-to-end tests: a person with a fresh key and a model nobody knows yet."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import tiktoken

import memgpt_proxy
from tests.e2e.chatting import WAYS, Person
from tests.support.gateway import GatewayProcess

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End to end takes minutes in all: none of it is in the fast subset."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def model() -> str:
    """A model name of the test's own: what the gateway learns of models is kept by name."""
    return f"model-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def person(gateway: GatewayProcess, api_key: str, model: str) -> Person:
    """Somebody new at the shared gateway, whose client does not stream."""
    return Person(gateway.base_url, api_key, model)


@pytest.fixture(params=WAYS.values(), ids=[*WAYS])
def anyone(request: pytest.FixtureRequest, person: Person) -> Person:
    """The same, by each of the four ways of the ``openai`` package."""
    person.way = request.param
    return person


@pytest.fixture(scope="session")
def encoding() -> tiktoken.Encoding:
    """tiktoken itself, to count by, with the tables that come with the package."""
    tables = Path(memgpt_proxy.__file__).parent / "tables"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(tables))
        return tiktoken.get_encoding("cl100k_base")
