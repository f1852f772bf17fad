"""On whose account a call was: told to the client where that is its own, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from prometheus_client import CollectorRegistry

from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.backend.guarded import Credentials, Guard, GuardedBackend
from memgpt_proxy.backend.retrying import Retries
from memgpt_proxy.errors import BackendRefused
from memgpt_proxy.telemetry.backends import BackendTelemetry

ACCOUNT = {
    "OpenAI-Organization": "acme",
    "openai-project": "proj_1",
    "anthropic-organization-id": "acme",
}
CALL = {"x-request-id": "req_1", "openai-version": "2020-10-01", "openai-processing-ms": "3"}
URL = "http://backend/v1"
GOOD = b'data: {"id": "a"}\n\ndata: [DONE]\n\n'
LIMITED = b'{"error": {"message": "Rate limit reached for m in organization org-%b: project %b."}}'

NAMED = LIMITED % (b"AbC123xyz", b"proj_AbC123xyz")


def answering(status: int) -> httpx.MockTransport:
    """What names its account in each answer."""
    headers = {**ACCOUNT, **CALL, "content-type": "text/event-stream"}
    told = NAMED if status >= 400 else GOOD
    return httpx.MockTransport(lambda _: httpx.Response(status, content=told, headers=headers))


def alone(status: int, api_key: str | None) -> Backend:
    """The one backend of a gateway."""
    return Backend(URL, answering(status), api_key=api_key, timeouts=Timeouts(1, 1))


def of_several(status: int, credentials: Credentials) -> Backend:
    """One of a file of backends."""
    telemetry = BackendTelemetry(CollectorRegistry())
    return GuardedBackend(
        URL,
        answering(status),
        timeouts=Timeouts(1, 1),
        credentials=credentials,
        guard=Guard("b", None, Retries(1, pause=0.0, seconds=0.0), telemetry),
        replaceable=False,
    )


async def told(backend: Backend, status: int) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and body of an answer to a step, and of one that is passed through."""
    steps: list[tuple[bytes, bytes]] = []
    body = b""
    try:
        async with backend.stream(b"{}", []) as chunks:
            steps = chunks.headers
    except BackendRefused as error:
        steps, body = list(error.headers), error.body()
    request = backend.forward("GET", "/files", [], b"")
    async with backend.exchange(request) as response:
        assert response.status_code == status
        passed, whole = response.headers.raw, await response.aread()
    assert response.headers["content-length"] == str(len(whole))
    return [
        ({name.decode().lower(): value.decode() for name, value in headers}, words)
        for headers, words in ((steps, body), (passed, whole))
    ]


Asked = Callable[[int], Backend]

OPERATORS: dict[str, Asked] = {
    "one": lambda status: alone(status, "sk-own"),
    "several": lambda status: of_several(status, Credentials("sk-own")),
    "no key": lambda status: of_several(status, Credentials()),
    "another's header": lambda status: of_several(
        status, Credentials(None, True, [(b"openai-organization", b"acme")])
    ),
}
CLIENTS: dict[str, Asked] = {
    "one": lambda status: alone(status, None),
    "several": lambda status: of_several(status, Credentials(None, True, [(b"x-own", b"1")])),
}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("backend", OPERATORS.values(), ids=OPERATORS)
async def test_the_operators_is_not_told(backend: Asked, status: int) -> None:
    for headers, words in await told(backend(status), status):
        assert headers.items() >= CALL.items()
        assert not headers.keys() & {name.lower() for name in ACCOUNT}
        assert words in (b"", GOOD, LIMITED % (b"***", b"proj_***"))


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("backend", CLIENTS.values(), ids=CLIENTS)
async def test_the_clients_own_is(backend: Asked, status: int) -> None:
    for headers, words in await told(backend(status), status):
        assert headers["openai-organization"] == "acme"
        assert headers["openai-project"] == "proj_1"
        assert words in (b"", GOOD, NAMED)


def _asked(backend: Backend, codings: str) -> str:
    request = backend.forward("GET", "/files", [(b"accept-encoding", codings.encode())], b"")
    asked: str = request.headers["accept-encoding"]
    return asked


@pytest.mark.parametrize(
    ("codings", "asked"),
    [
        ("br, gzip;q=0.8, zstd, Deflate", "gzip;q=0.8, Deflate"),
        ("br", "identity"),
        ("*", "identity"),
        ("identity", "identity"),
    ],
)
def test_an_error_that_is_read_comes_in_a_coding_that_can_be(codings: str, asked: str) -> None:
    """Browsers and node ask for Brotli, which httpx reads only with another package."""
    for operators in OPERATORS.values():
        assert _asked(operators(400), codings) == asked
    for clients in CLIENTS.values():
        assert _asked(clients(400), codings) == codings
