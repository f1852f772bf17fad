"""Looking for a backend on this machine, where people usually run one."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx
import orjson

_PATIENCE = {"timeout": {"connect": 1.0, "read": 1.0, "write": 1.0, "pool": 1.0}}


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server and the port that it usually listens on."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


LOCAL_SERVERS = (
    LocalServer("Ollama", 11434),
    LocalServer("LM Studio", 1234),
    LocalServer("llama.cpp", 8080),
    LocalServer("vLLM", 8000),
)


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A model server that answers, and the first model that it has."""

    name: str
    url: str
    model: str


@dataclass(frozen=True, slots=True)
class ListedModels:
    """What a backend has answered when it was asked for its models."""

    status: int
    models: tuple[str, ...]


_WITHOUT_A_PATH = (httpx.codes.OK, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
"""What is answered at the root of a server whose API is elsewhere; many ask for a key first."""


_ENDPOINT = re.compile(r"/(chat/completions|completions|embeddings|models|responses)$")
"""What is behind a base URL, where an endpoint's whole URL was given in its place."""


def url_meant(url: str, listed: ListedModels) -> str | None:
    """Return the base URL that may have been meant by ``url``.

    It may lack its ``/v1``, or go on to an endpoint.
    """
    url = url.rstrip("/")
    if listed.models or url.endswith("/v1"):
        return None
    if endpoint := _ENDPOINT.search(url):
        return url[: endpoint.start()]
    bare = httpx.URL(url).path in ("", "/")
    lacks = listed.status == httpx.codes.NOT_FOUND or (bare and listed.status in _WITHOUT_A_PATH)
    return f"{url}/v1" if lacks else None


async def find_local_server(transport: httpx.AsyncBaseTransport) -> FoundServer | None:
    """Return the first of ``LOCAL_SERVERS`` that lists a model; None if none does."""
    for server in LOCAL_SERVERS:
        if model := await first_model(transport, server.url, None):
            return FoundServer(server.name, server.url, model)
    return None


async def first_model(
    transport: httpx.AsyncBaseTransport, url: str, api_key: str | None
) -> str | None:
    """Return the first model that the backend at ``url`` lists within a second, if any."""
    try:
        listed = await list_models(transport, url, api_key)
    except httpx.TransportError:
        return None
    return next(iter(listed.models), None)


async def list_models(
    transport: httpx.AsyncBaseTransport, url: str, api_key: str | None
) -> ListedModels:
    """Ask the backend at ``url`` for its models; raises httpx.TransportError after a second."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    request = httpx.Request("GET", f"{url}/models", headers=headers, extensions=_PATIENCE)
    response = await transport.handle_async_request(request)
    try:
        body = await response.aread()
        listed = orjson.loads(body) if response.status_code == httpx.codes.OK else {}
    except (httpx.DecodingError, orjson.JSONDecodeError):
        listed = {}
    finally:
        await response.aclose()
    models = listed.get("data") if isinstance(listed, dict) else None
    names = [m.get("id") for m in models if isinstance(m, dict)] if isinstance(models, list) else []
    return ListedModels(
        response.status_code, tuple(name for name in names if isinstance(name, str))
    )
