"""Looking for a backend on this machine, where people usually run one."""

from __future__ import annotations

from dataclasses import dataclass

import httpx


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


async def find_local_server(transport: httpx.AsyncBaseTransport) -> FoundServer | None:
    """Return the first of ``LOCAL_SERVERS`` that lists a model; None if none does."""
    async with httpx.AsyncClient(transport=transport, timeout=1.0, trust_env=False) as client:
        for server in LOCAL_SERVERS:
            if model := await _first_model(client, server):
                return FoundServer(server.name, server.url, model)
    return None


async def _first_model(client: httpx.AsyncClient, server: LocalServer) -> str | None:
    try:
        response = await client.get(f"{server.url}/models")
        listed = response.json() if response.status_code == httpx.codes.OK else {}
    except (httpx.TransportError, ValueError):
        return None
    models = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(models, list):
        return None
    names = [m.get("id") for m in models if isinstance(m, dict)]
    return next((name for name in names if isinstance(name, str)), None)
