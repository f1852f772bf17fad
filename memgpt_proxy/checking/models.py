"""The backend and the embedding model."""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx
import orjson

from memgpt_proxy.backend.discovery import ListedModels, find_local_server, list_models
from memgpt_proxy.backend.http1 import Http1Transport
from memgpt_proxy.checking.findings import Finding, fail, milliseconds, ok, told, warn
from memgpt_proxy.config import Settings
from memgpt_proxy.connections import without_credentials

BACKEND, EMBEDDINGS = "backend", "embedding model"

CONNECTIONS = 4
_UNAUTHORIZED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_PATIENCE = {"timeout": {"connect": 2.0, "read": 6.0, "write": 2.0, "pool": 2.0}}


async def backend(settings: Settings) -> Sequence[Finding]:
    """Ask the backend for its models."""
    transport = Http1Transport(CONNECTIONS)
    try:
        if settings.backend_url is None:
            return [await _local_server(transport)]
        return [await _named(settings, str(settings.backend_url).rstrip("/"), transport)]
    finally:
        await transport.aclose()


async def _local_server(transport: httpx.AsyncBaseTransport) -> Finding:
    found = await find_local_server(transport)
    if found is None:
        return warn(
            BACKEND, "none is set or found on this machine: the demo backend answers (backend_url)"
        )
    return ok(BACKEND, f"{found.name} at {found.url}, model {found.model}")


async def _named(settings: Settings, url: str, transport: httpx.AsyncBaseTransport) -> Finding:
    key = settings.backend_api_key
    shown = without_credentials(url)
    began = time.perf_counter()
    try:
        listed = await list_models(transport, url, key.get_secret_value() if key else None)
    except httpx.TransportError as error:
        return fail(BACKEND, f"{shown} cannot be reached: {told(error)}: check backend_url")
    took = milliseconds(time.perf_counter() - began)
    return _answered(shown, listed, took, has_key=key is not None)


def _answered(shown: str, listed: ListedModels, took: str, *, has_key: bool) -> Finding:
    if listed.models:
        count = len(listed.models)
        named = f"{count} model{'s' if count > 1 else ''}, {listed.models[0]} first"
        return ok(BACKEND, f"{shown}: {named} ({took})")
    if listed.status in _UNAUTHORIZED:
        if has_key:
            return fail(BACKEND, f"{shown} refuses backend_api_key ({listed.status})")
        return ok(BACKEND, f"{shown} asks for a key, which each client brings ({took})")
    if listed.status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return fail(BACKEND, f"{shown} answers with an error ({listed.status})")
    return warn(BACKEND, f"{shown} lists no models ({listed.status}): is its path right (…/v1)?")


async def embedding_model(settings: Settings) -> Sequence[Finding]:
    """Have the embedding model embed a word."""
    url = settings.embedding_url or settings.backend_url
    if url is None:
        return [fail(EMBEDDINGS, "embedding_model is set: set embedding_url or backend_url too")]
    transport = Http1Transport(CONNECTIONS)
    try:
        return [await _embedded(settings, str(url).rstrip("/"), transport)]
    finally:
        await transport.aclose()


async def _embedded(settings: Settings, url: str, transport: httpx.AsyncBaseTransport) -> Finding:
    model, shown = settings.embedding_model, without_credentials(url)
    key = settings.embedding_api_key
    if key is None and url == str(settings.backend_url).rstrip("/"):
        key = settings.backend_api_key
    request = httpx.Request(
        "POST",
        f"{url}/embeddings",
        headers={"authorization": f"Bearer {key.get_secret_value()}"} if key else {},
        json={"model": model, "input": ["memory"]},
        extensions=_PATIENCE,
    )
    began = time.perf_counter()
    try:
        response = await transport.handle_async_request(request)
        try:
            body = await response.aread()
        finally:
            await response.aclose()
    except (httpx.TransportError, httpx.DecodingError) as error:
        return fail(EMBEDDINGS, f"{shown} cannot be reached: {told(error)}: check embedding_url")
    took = milliseconds(time.perf_counter() - began)
    if response.status_code != httpx.codes.OK:
        return fail(EMBEDDINGS, f"{shown} refuses {model} ({response.status_code})")
    if dimensions := _dimensions(body):
        return ok(EMBEDDINGS, f"{model} at {shown}: {dimensions} dimensions ({took})")
    return fail(EMBEDDINGS, f"{shown} answers with no embedding: is {model} an embedding model?")


def _dimensions(body: bytes) -> int:
    """Return the length of the vector in an answer; 0 where there is none."""
    try:
        match orjson.loads(body):
            case {"data": [{"embedding": [*numbers]}]}:
                return len(numbers)
            case _:
                return 0
    except orjson.JSONDecodeError:
        return 0
