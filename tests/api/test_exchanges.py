"""What all requests have in common, around an application that answers at once."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from memgpt_proxy.api.exchanges import Exchanges
from memgpt_proxy.draining import Draining
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.telemetry.exchange import CURRENT
from memgpt_proxy.telemetry.logs import JsonFormatter
from tests.support.scrape import samples


class Scene:
    """A client of an application that tells how many requests are running."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.draining = Draining()
        exchanges = Exchanges(self.telemetry, self.draining, logs=False)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            told = PlainTextResponse(str(self.draining.running))
            await exchanges.answer(told, scope, receive, send)

        transport = httpx.ASGITransport(app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def routes(self) -> list[str]:
        return counted(self.telemetry, "http_route")


def counted(telemetry: Telemetry, label: str) -> list[str]:
    """What a label says of the requests that have ended."""
    name = "http_server_request_duration_seconds_count"
    found = samples(telemetry.exposition("")[0].decode())
    return [each.labels[label] for each in found if each.name == name]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    async with made.client:
        yield made


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/of-the-client", "/v1/*"),
        ("/memgpt/traces", "/memgpt/*"),
        ("/wp-login.php", "other"),
    ],
)
async def test_a_route_is_one_of_a_few(path: str, route: str, scene: Scene) -> None:
    await scene.client.get(path)
    assert scene.routes() == [route]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/demo/v1/chat/completions"])
async def test_probes_and_the_demo_backend_are_not_counted(path: str, scene: Scene) -> None:
    await scene.client.get(path)
    assert scene.routes() == []


async def test_requests_of_clients_are_refused_while_draining(scene: Scene) -> None:
    scene.draining.begin()
    answer = await scene.client.get("/v1/models")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    scene.draining.refuse()
    for path in ("/v1/models", "/memgpt/events", "/nothing"):
        refused = await scene.client.get(path)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "stopping"
        assert refused.headers.get_list("connection") == ["close"]
    for path in ("/healthz", "/demo/v1/models"):
        assert (await scene.client.get(path)).status_code == 200


async def test_draining_ends_with_the_last_request(scene: Scene) -> None:
    scene.draining.entered()
    scene.draining.refuse()
    scene.draining.entered()
    scene.draining.left()
    assert scene.draining.running == 1
    scene.draining.left()
    await scene.draining.idle()


async def test_an_exchange_is_found_by_what_it_calls(scene: Scene) -> None:
    found = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(CURRENT.get())
        await PlainTextResponse("")(scope, receive, send)

    exchanges = Exchanges(scene.telemetry, scene.draining, logs=False)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        await exchanges.answer(app, scope, receive, send)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(front), base_url="http://gateway"
    ) as client:
        await client.get("/v1/models/%0A?user=ann", headers={"x-request-id": "mine"})
    (exchange,) = found
    assert exchange is not None
    assert (exchange.id, exchange.path) == ("mine", "/v1/models/%0A")
    assert exchange.status == 200


@pytest.fixture
def errors() -> Iterator[io.StringIO]:
    """What the server logs of errors, as JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


async def test_what_nobody_has_expected_counts_as_an_error_and_bears_its_id(
    scene: Scene, errors: io.StringIO
) -> None:
    exchanges = Exchanges(scene.telemetry, scene.draining, logs=False)

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a fault of ours")

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        await exchanges.answer(broken, scope, receive, send)

    config = uvicorn.Config(front, lifespan="off", log_config=None, log_level=logging.ERROR)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.TaskGroup() as group, httpx.AsyncClient() as client:
            group.create_task(server.serve(sockets=[listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models"
            answer = await client.get(url, headers={"x-request-id": "mine"})
            server.should_exit = True
    assert answer.status_code == 500
    assert counted(scene.telemetry, "http_response_status_code") == ["500"]
    told = json.loads(errors.getvalue())
    assert (told["level"], told["request_id"]) == ("error", "mine")
    assert told["exception"].endswith("RuntimeError: a fault of ours")


async def test_what_follows_an_answer_is_no_part_of_its_duration(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a queue is flushed behind a reply, which takes a call of the summary model."""
    exchanges = Exchanges(scene.telemetry, scene.draining, logs=False)
    real, later = time.perf_counter, 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: real() + later)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal later
        await PlainTextResponse("")(scope, receive, send)
        later = 1000.0

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        await exchanges.answer(app, scope, receive, send)

    transport = httpx.ASGITransport(front)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        await client.get("/v1/models")
    found = samples(scene.telemetry.exposition("")[0].decode())
    name = "http_server_request_duration_seconds_sum"
    [seconds] = [each.value for each in found if each.name == name]
    assert 0 < seconds < later
