"""Fixtures: stores, the gateway as a process, a scripted backend, a real llama.cpp server."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import hypothesis
import pytest

from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.telemetry import Telemetry
from tests.support.backend import ScriptedBackend
from tests.support.elasticsearch import ElasticsearchNode, base_directory
from tests.support.elasticsearch_build import elasticsearch_home, is_complete, java_home
from tests.support.gateway import GatewayProcess
from tests.support.llama import LlamaServer
from tests.support.llama_build import server_path
from tests.support.own_namespaces import OwnNamespaces
from tests.support.redis_server import BINARY as REDIS_BINARY
from tests.support.redis_server import RedisServer
from tests.support.sharing import FileByFile
from tests.support.tiny_model import write_tiny_model

# How long an example takes depends on the machine; each test has its deadline all the same.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")

StartGateway = Callable[..., GatewayProcess]

HOT_BYTES = 2**20

SHARED_PREFIX = "tests"
"""Of the indices that tests share, each in namespaces of its own."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile:
    """Let the workers of a run, where there are any, take the tests file by file."""
    config.option.loadscopereorder = False
    return FileByFile(config, log)


def pytest_configure() -> None:
    """Let what tests start be interrupted, which shells have background jobs ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _ask_this_machine_directly()


def _ask_this_machine_directly() -> None:
    """Keep clients in tests from a proxy that others, which fetch something, may need."""
    if any(f"{name}_proxy" in map(str.lower, os.environ) for name in ("http", "all")):
        told = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
        os.environ["no_proxy"] = f"127.0.0.1,localhost,::1,{told}"


def missing_part(reason: str) -> NoReturn:
    """Skip the test and say why; in continuous integration a missing part is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(
    params=[
        "sqlite",
        "hot",
        "journaled",
        pytest.param("elasticsearch", marks=pytest.mark.elasticsearch),
    ]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store without records; the family's name is the parameter."""
    if request.param == "elasticsearch":
        node: ElasticsearchNode = request.getfixturevalue("elasticsearch")
        opened: Store = ElasticsearchStore(Connection([node.url]), prefix=SHARED_PREFIX)
        tested = cast("Store", OwnNamespaces(opened))
    else:
        embedded = SqliteStore(tmp_path / "memory.db")
        journal = DiskJournal(tmp_path / "journal.db", 2**20)
        families: dict[str, Store] = {
            "sqlite": embedded,
            "hot": HotStore(embedded, HOT_BYTES),
            "journaled": JournaledStore(embedded, [journal], Telemetry()),
        }
        opened = tested = families[request.param]
    await opened.open()
    yield tested
    await opened.close()


@pytest.fixture(scope="session")
def elasticsearch_binaries() -> Path:
    """The unpacked Elasticsearch, which a JDK can run."""
    home = elasticsearch_home()
    if not is_complete(home) or java_home() is None:
        missing_part(f"no Elasticsearch at {home}: run python -m tests.support.elasticsearch_build")
    return home


@pytest.fixture(scope="session")
def elasticsearch(elasticsearch_binaries: Path) -> Iterator[ElasticsearchNode]:
    """The Elasticsearch of the whole run: take namespaces of your own, and leave it running."""
    with base_directory() as base:
        backups = {"path.repo": [str(base / "n1" / "backups")]}
        with ElasticsearchNode(elasticsearch_binaries, base, settings=backups) as node:
            yield node


@pytest.fixture(scope="session")
def backend_server() -> Iterator[ScriptedBackend]:
    """The scripted backend of the whole run; tests take ``backend``."""
    with ScriptedBackend() as server:
        yield server


@pytest.fixture
def backend(backend_server: ScriptedBackend) -> Iterator[ScriptedBackend]:
    """The scripted backend with an empty script; a request it has no answer for fails the test."""
    backend_server.reset()
    yield backend_server
    unexpected = backend_server.unexpected
    backend_server.reset()
    assert unexpected == 0, f"{unexpected} requests more than the script has replies for"


@pytest.fixture(scope="session")
def shared_gateway(
    backend_server: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """The gateway of the whole run; tests take ``gateway``."""
    directory = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(directory, backend_server.base_url) as process:
        yield process


@pytest.fixture
def gateway(shared_gateway: GatewayProcess, backend: ScriptedBackend) -> GatewayProcess:
    """A running gateway in front of ``backend``, shared: take a key of your own (``api_key``)."""
    return shared_gateway


@pytest.fixture
def start_gateway(tmp_path: Path, backend: ScriptedBackend) -> Iterator[StartGateway]:
    """Start gateways of the test's own: ``start_gateway(*options, backend_url=…, env=…)``.

    Each has its own data directory; the scripted backend is behind it unless another is named.
    """
    started: list[GatewayProcess] = []

    def start(
        *options: str, backend_url: str | None = backend.base_url, env: dict[str, str] | None = None
    ) -> GatewayProcess:
        directory = tmp_path / f"gateway-{len(started)}"
        directory.mkdir()
        process = GatewayProcess(directory, backend_url, *options, env=env)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def api_key() -> str:
    """A key nobody has used before: an empty memory."""
    return f"sk-test-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """The Redis server's program."""
    if REDIS_BINARY is None:
        missing_part("no redis-server on the PATH: install it from the system's packages")
    return REDIS_BINARY


@pytest.fixture(scope="session")
def shared_redis(
    redis_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """The Redis of the whole run; tests take ``redis_server``."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """A running, empty Redis. A test that stops or kills it starts it again."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated model's file."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="session")
def llama_binary() -> Path:
    """The built llama.cpp server."""
    path = server_path()
    if not path.exists():
        missing_part(f"no llama.cpp server at {path}: run python -m tests.support.llama_build")
    return path


@pytest.fixture(scope="session")
def llama_backend(
    llama_binary: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The base URL (``…/v1``) of a real llama.cpp server whose model is called ``tiny``."""
    with LlamaServer(llama_binary, tiny_model, tmp_path_factory.mktemp("llama")) as server:
        yield server.base_url
