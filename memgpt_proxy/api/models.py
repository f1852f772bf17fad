"""``GET /v1/models`` in front of several backends: one list of what clients can ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from memgpt_proxy.backend.client import Backend
from memgpt_proxy.backend.headers import RawHeaders, for_a_step
from memgpt_proxy.backend.several import SeveralBackends
from memgpt_proxy.errors import GatewayError

log = logging.getLogger(__name__)

_SECONDS = 5.0

Model = Mapping[str, Any]


@asynccontextmanager
async def merged_models(
    backends: SeveralBackends, headers: RawHeaders
) -> AsyncIterator[httpx.Response]:
    """Give the answer: each backend's models as it lists them, and aliases.

    A model is listed where requests for it go. Of a backend that does not answer only the
    names are listed that are in the file.
    """
    told = backends.told
    names = [entry.name for entry in told.backends]
    lists = await asyncio.gather(*(_listed(backends.backend(n), headers) for n in names))
    by_name = dict(zip(names, lists, strict=True))
    listed = [model for name in names for model in _reachable(backends, name, by_name[name])]
    seen = {model["id"] for model in listed}
    for alias, entry in told.named():
        if alias not in seen:
            listed.append(_as(alias, entry.name, by_name[entry.name], entry.takes(alias)))
    body = orjson.dumps({"object": "list", "data": listed})
    yield httpx.Response(200, headers={"content-type": "application/json"}, content=body)


def _reachable(backends: SeveralBackends, name: str, models: Iterable[Model]) -> Iterable[Model]:
    """Give those of a backend's models that it gets the requests for."""
    for model in models:
        place = backends.told.place(model["id"])
        if place is not None and place[0].name == name and place[1] == model["id"]:
            yield model


def _as(alias: str, backend: str, models: Sequence[Model], name: str | None) -> Model:
    """Return the model called ``name`` there under another name, as far as it is known."""
    known = next((model for model in models if model["id"] == name), {})
    return {"object": "model", "created": 0, "owned_by": backend, **known, "id": alias}


async def _listed(backend: Backend, headers: RawHeaders) -> Sequence[Model]:
    """Return the models that a backend lists; none where it does not answer properly."""
    request = backend.forward("GET", "/models", for_a_step(headers), b"")
    try:
        async with asyncio.timeout(_SECONDS):
            response = await backend.send(request)
            try:
                told = orjson.loads(await response.aread())
            finally:
                await response.aclose()
    except (GatewayError, TimeoutError, httpx.HTTPError, orjson.JSONDecodeError) as error:
        log.warning("%s lists no models: %s", backend.name, type(error).__name__)
        return ()
    models = told.get("data") if isinstance(told, dict) else None
    given = models if isinstance(models, list) else []
    return [m for m in given if isinstance(m, dict) and isinstance(m.get("id"), str)]
