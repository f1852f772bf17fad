"""The backend and the embedding model."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import orjson

from memgpt_proxy.backend.discovery import ListedModels, find_local_server, list_models, url_meant
from memgpt_proxy.backend.http1 import Http1Transport, Proxies, ProxyFailed
from memgpt_proxy.backends_file import BackendEntry, read_backends
from memgpt_proxy.checking.findings import Finding, fail, milliseconds, ok, told, warn
from memgpt_proxy.config import Settings
from memgpt_proxy.connections import without_credentials
from memgpt_proxy.wrong_settings import SettingsError

BACKEND, EMBEDDINGS = "backend", "embedding model"

CONNECTIONS = 4
_UNAUTHORIZED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_PATIENCE = {"timeout": {"connect": 2.0, "read": 6.0, "write": 2.0, "pool": 2.0}}


async def backend(settings: Settings) -> Sequence[Finding]:
    """Ask the backend for its models; each, where there are several."""
    try:
        several = read_backends(settings)
    except SettingsError as error:
        return [fail(BACKEND, str(error))]
    proxies = Proxies(os.environ)
    transport = Http1Transport(CONNECTIONS, proxies=proxies)
    try:
        if several is not None:
            asked = map(_one_of_several, several.backends)
            return await asyncio.gather(*(_answers(one, transport, proxies) for one in asked))
        if settings.backend_url is None:
            return [await _local_server(transport)]
        return [await _answers(_only(settings), transport, proxies)]
    finally:
        await transport.aclose()


async def _local_server(transport: httpx.AsyncBaseTransport) -> Finding:
    found = await find_local_server(transport)
    if found is None:
        return warn(
            BACKEND, "none is set or found on this machine: the demo backend answers (backend_url)"
        )
    return ok(BACKEND, f"{found.name} at {found.url}, model {found.model}")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A backend to be asked.

    Attributes:
        set_by: What its URL and its key are called where they are set.
        by_clients: Each client brings the key.
    """

    part: str
    url: str
    key: str | None
    set_by: tuple[str, str]
    by_clients: bool

    @property
    def shown(self) -> str:
        return without_credentials(self.url)


def _only(settings: Settings) -> _Asked:
    key = settings.backend_api_key
    return _Asked(
        BACKEND,
        str(settings.backend_url).rstrip("/"),
        key.get_secret_value() if key else None,
        ("backend_url", "backend_api_key"),
        by_clients=key is None,
    )


def _one_of_several(entry: BackendEntry) -> _Asked:
    return _Asked(
        f"{BACKEND} {entry.name}",
        str(entry.url).rstrip("/"),
        entry.key(),
        ("its url", "its key"),
        by_clients=entry.pass_client_key,
    )


async def _answers(asked: _Asked, transport: httpx.AsyncBaseTransport, proxies: Proxies) -> Finding:
    began = time.perf_counter()
    try:
        listed = await list_models(transport, asked.url, asked.key)
    except httpx.TransportError as error:
        return fail(asked.part, _unreachable(asked.shown, error, asked.set_by[0]))
    took = _took(began, proxies, asked.url)
    return _answered(asked, listed, took)


def _unreachable(shown: str, error: Exception, set_by: str) -> str:
    wrong = "HTTPS_PROXY and NO_PROXY" if isinstance(error, ProxyFailed) else set_by
    return f"{shown} cannot be reached: {told(error)}: check {wrong}"


def _took(began: float, proxies: Proxies, url: str) -> str:
    """Return how long an answer took, and by which way if not straight."""
    proxy = proxies.to_url(url)
    way = "" if proxy is None else f" through {proxy}"
    return milliseconds(time.perf_counter() - began) + way


def _answered(asked: _Asked, listed: ListedModels, took: str) -> Finding:
    part, shown = asked.part, asked.shown
    if listed.models:
        count = len(listed.models)
        named = f"{count} model{'s' if count > 1 else ''}, {listed.models[0]} first"
        return ok(part, f"{shown}: {named} ({took})")
    meant = url_meant(shown, listed)
    hint = f": did you mean {meant}?" if meant else ""
    if listed.status in _UNAUTHORIZED:
        if asked.by_clients and meant:
            return warn(part, f"{shown} asks for a key, which each client brings{hint}")
        if asked.by_clients:
            return ok(part, f"{shown} asks for a key, which each client brings ({took})")
        return fail(part, f"{shown} refuses {asked.set_by[1]} ({listed.status}){hint}")
    if listed.status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return fail(part, f"{shown} answers with an error ({listed.status})")
    return warn(
        part, f"{shown} lists no models ({listed.status}){hint or ': is its path right (…/v1)?'}"
    )


async def embedding_model(settings: Settings) -> Sequence[Finding]:
    """Have the embedding model embed a word."""
    url = settings.embedding_url or settings.backend_url
    if url is None:
        return [fail(EMBEDDINGS, "embedding_model is set: set embedding_url or backend_url too")]
    proxies = Proxies(os.environ)
    transport = Http1Transport(CONNECTIONS, proxies=proxies)
    try:
        return [await _embedded(settings, str(url).rstrip("/"), transport, proxies)]
    finally:
        await transport.aclose()


async def _embedded(
    settings: Settings, url: str, transport: httpx.AsyncBaseTransport, proxies: Proxies
) -> Finding:
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
        return fail(EMBEDDINGS, _unreachable(shown, error, "embedding_url"))
    took = _took(began, proxies, url)
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
