"""What a backend reports of its models: their context windows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from memgpt_proxy.backend.client import Backend
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import (
    ABOUT_THE_KEY,
    BackendTimeout,
    BackendUnreachable,
    GatewayError,
    Unauthenticated,
)

_SECONDS = 3.0
_NOT_YET = frozenset({429, 500, 502, 503, 504})
"""What servers answer while they load a model, or have too much to do."""
_LOADING_SECONDS = 10.0
"""How long one that is not ready is left alone: some that never tell answer so, too."""
_SILENT_SECONDS = 60.0
"""How long one is that has said nothing: to ask it holds up a turn."""
_FIELDS = (
    "context_window",  # Groq, and the demo backend
    "max_model_len",  # vLLM
    "context_length",  # OpenRouter, Together
    "max_context_length",  # LM Studio, Mistral
)


@dataclass(frozen=True, slots=True)
class Reported:
    """What a backend tells of its models.

    Attributes:
        windows: The context window of each model that it tells one of, in tokens.
        holds: Seconds after which it is worth asking again.
    """

    windows: Mapping[str, int]
    holds: float = math.inf


async def reported_windows(backend: Backend, headers: RawHeaders) -> Reported:
    """Ask a backend for its windows.

    It is worth asking again at once where it cannot be reached or does not take this key, later
    where it is not ready or takes longer than three seconds.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            listed = await _get(backend, "/models", headers)
            if _is_llama_cpp(listed):
                return Reported(await _llama_cpp(backend, listed, headers))
    except (BackendUnreachable, Unauthenticated):
        return Reported({}, holds=0.0)
    except _NotReady:
        return Reported({}, holds=_LOADING_SECONDS)
    except (BackendTimeout, TimeoutError):
        return Reported({}, holds=_SILENT_SECONDS)
    except GatewayError:
        return Reported({})
    return Reported({m["id"]: size for m in _models(listed) if (size := _window(m))})


class _NotReady(Exception):
    """The backend does not tell its models yet."""


async def _get(backend: Backend, target: str, headers: RawHeaders) -> dict[str, Any]:
    """Return the JSON object at ``target``; empty where there is none."""
    credentials = [(name, value) for name, value in headers if name == b"authorization"]
    request = backend.forward("GET", target, credentials, b"")
    response = await backend.send(request)
    try:
        if response.status_code in ABOUT_THE_KEY:
            raise Unauthenticated("The backend does not take this key.")
        if response.status_code in _NOT_YET:
            raise _NotReady
        body = await response.aread() if response.status_code == 200 else b"{}"
    except httpx.TransportError:
        return {}
    finally:
        await response.aclose()
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _models(listed: Mapping[str, Any]) -> list[dict[str, Any]]:
    models = listed.get("data")
    kept = models if isinstance(models, list) else []
    return [m for m in kept if isinstance(m, dict) and isinstance(m.get("id"), str)]


def _window(model: Mapping[str, Any]) -> int | None:
    sizes = (model.get(field) for field in _FIELDS)
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


def _is_llama_cpp(listed: Mapping[str, Any]) -> bool:
    return any(model.get("owned_by") == "llamacpp" for model in _models(listed))


async def _llama_cpp(
    backend: Backend, listed: Mapping[str, Any], headers: RawHeaders
) -> Mapping[str, int]:
    """llama.cpp lists the window its model was trained with; the one in use is a property."""
    properties = await _get(backend, "/../props", headers)
    settings = properties.get("default_generation_settings")
    size = settings.get("n_ctx") if isinstance(settings, dict) else None
    return {m["id"]: size for m in _models(listed)} if isinstance(size, int) else {}
