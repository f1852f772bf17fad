"""Fixtures: the clients' programs, and a gateway in front of the scripted backend for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import SERVING, Environment
from tests.clients.program import DEADLINE, START_SECONDS, Doing, Program
from tests.clients.roster import Client
from tests.conftest import missing_part
from tests.e2e.chatting import Person
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import clean_environment

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it needs the clients, and is left out of the fast subset."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(START_SECONDS + 2 * DEADLINE))


@dataclass(slots=True)
class Caller:
    """A client that has been given a base URL, a fresh key and a model."""

    client: Client
    program: Program
    base_url: str
    api_key: str
    model: str

    def begin(self, verb: str, **arguments: Any) -> Doing:
        """Have the client do something."""
        at = {"base_url": self.base_url, "api_key": self.api_key, "model": self.model}
        return self.program.begin(verb, at={**at, "way": self.client.way}, **arguments)

    def do(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Have it done, and return what came out. Raises Failure."""
        return self.begin(verb, **arguments).result()

    def person(self) -> Person:
        """Whoever uses the client, at the ``openai`` package of these tests."""
        return Person(self.base_url, self.api_key, self.model)


@pytest.fixture(scope="session")
def clients_gateway(
    backend_server: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """The gateway that the clients talk to; it does not retry in their place."""
    directory = tmp_path_factory.mktemp("clients-gateway")
    with GatewayProcess(directory, backend_server.base_url) as process:
        yield process


@pytest.fixture(scope="session")
def program_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Client], Program]]:
    """The running program of a client, started when it is first asked for."""
    running: dict[Path, Program] = {}
    with ExitStack() as stack:

        def program_of(client: Client) -> Program:
            program = running.get(client.source)
            if program is None or not program.is_running:
                installed(client.environment)
                work = tmp_path_factory.mktemp(client.environment.folder)
                command = client.environment.command(client.source, work)
                env = client_environment(work)
                program = stack.enter_context(Program(command, env, work / "log"))
                running[client.source] = program
            return program

        yield program_of


def installed(environment: Environment) -> None:
    """Skip the test where the client is not installed."""
    if not environment.is_complete:
        missing_part(f"{environment.folder} is not installed: run python -m tests.clients")


def client_environment(work: Path) -> dict[str, str]:
    """The environment of a client: no settings but its own, no home but ``work``."""
    here = {"HOME": str(work), "PYTHONPATH": str(SERVING), "PYTHONDONTWRITEBYTECODE": "1"}
    # What LiteLLM would fetch when it is imported.
    return clean_environment(**here, LITELLM_LOCAL_MODEL_COST_MAP="True")


@pytest.fixture
def caller(
    request: pytest.FixtureRequest,
    program_of: Callable[[Client], Program],
    clients_gateway: GatewayProcess,
    backend: ScriptedBackend,
    api_key: str,
) -> Caller:
    """The client that is the parameter, with an empty memory and a model nobody knows yet."""
    model = f"model-{uuid.uuid4().hex[:12]}"
    program = program_of(request.param)
    return Caller(request.param, program, clients_gateway.base_url, api_key, model)
