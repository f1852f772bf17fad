"""The demo backend's server: OpenAI's chat completions and models, with one model, `demo`."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memgpt_proxy.demo.completion import Completion
from memgpt_proxy.demo.model import answer
from memgpt_proxy.demo.request import MODEL, BadRequest, parse, unknown_model

CONTEXT_WINDOW = 8192
"""Tokens that the model says it can see, as the gateway counts them."""

_MODEL = {
    "id": MODEL,
    "object": "model",
    "created": 0,
    "owned_by": "memgpt-proxy",
    "context_window": CONTEXT_WINDOW,
}


def create_app() -> Starlette:
    """The demo backend as an ASGI application; it keeps no state between requests."""
    return Starlette(
        routes=[
            Route("/v1/chat/completions", _chat_completions, methods=["POST"]),
            Route("/v1/models", _models),
            Route("/v1/models/{model:path}", _one_model),
        ],
        exception_handlers={BadRequest: _refused, HTTPException: _refused},
    )


def _json(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # In ASCII, since a text may hold half of a surrogate pair, which UTF-8 cannot say.
    return Response(json.dumps(body), status, headers, media_type="application/json")


async def _chat_completions(request: Request) -> Response:
    asked = parse(await request.body())
    completion = Completion.of(asked, answer(asked.messages, asked.tools, asked.forced))
    if asked.stream:
        return EventSourceResponse(_events(completion, asked.include_usage))
    return _json(completion.whole())


async def _events(completion: Completion, include_usage: bool) -> AsyncIterator[dict[str, Any]]:
    for chunk in completion.chunks(include_usage):
        yield {"data": json.dumps(chunk)}
    yield {"data": "[DONE]"}


async def _models(request: Request) -> Response:
    return _json({"object": "list", "data": [_MODEL]})


async def _one_model(request: Request) -> Response:
    if (name := request.path_params["model"]) != MODEL:
        raise unknown_model(name)
    return _json(_MODEL)


async def _refused(request: Request, error: Exception) -> Response:
    """Words a BadRequest, or Starlette's own refusal of a path or a method, as OpenAI does."""
    match error:
        case BadRequest():
            return _json({"error": error.error}, error.status)
        case HTTPException():
            asked = f"{request.method} {request.url.path.removeprefix(request.scope['root_path'])}"
            refusal = BadRequest(f"{error.detail}: the demo backend has no {asked}")
            return _json({"error": refusal.error}, error.status_code, error.headers)
        case _:
            raise error
