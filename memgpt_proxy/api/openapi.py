"""The document of the gateway's own API: ``GET /memgpt/openapi.json`` (OpenAPI 3.1).

What is OpenAI's is named there and not described: their document does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from memgpt_proxy import __version__
from memgpt_proxy.api import shapes
from memgpt_proxy.api.owned import MOST_LISTED, PREFIX
from memgpt_proxy.values import dataclass

Json = dict[str, Any]

_AT = "#/components/schemas/{model}"
_JSON, _EVENTS, _LINES = "application/json", "text/event-stream", "application/jsonl"
_OF_OPENAI = "https://platform.openai.com/docs/api-reference"


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route does for one method.

    Attributes:
        name: What generated clients call it.
        does: In a sentence.
        answers: What comes of it, and its media type.
        query: The parameters that it takes, besides ``user``.
        takes: Its body.
        errors: Statuses besides 401, 429 and 503.
        open: It asks for no key.
    """

    name: str
    does: str
    answers: type[BaseModel] | None = None
    kind: str = _JSON
    query: Sequence[str] = ()
    takes: type[BaseModel] | str | None = None
    errors: Sequence[int] = (400,)
    open: bool = False


_PAGED = ("query", "page", "limit")

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    (f"{PREFIX}/working-context", "get"): Operation(
        "readWorkingContext", "The working context as it is now.", shapes.WorkingContext
    ),
    (f"{PREFIX}/working-context", "put"): Operation(
        "editWorkingContext",
        "Replace the version that was read. 409 where it was changed meanwhile.",
        shapes.WorkingContext,
        takes=shapes.Edit,
        errors=(400, 409, 413),
    ),
    (f"{PREFIX}/recall-storage", "get"): Operation(
        "listMessages",
        "Messages: those that a query or days ask for, else all, the newest first.",
        shapes.RecallPage,
        query=(*_PAGED, "start_date", "end_date"),
    ),
    (f"{PREFIX}/archival-storage", "get"): Operation(
        "listPassages",
        "Passages: the best for a query, else all, the newest first.",
        shapes.ArchivalPage,
        query=_PAGED,
    ),
    (f"{PREFIX}/archival-storage", "post"): Operation(
        "insertNote",
        "Store a note or a document, cut into passages; the same once more is stored once.",
        shapes.Inserted,
        takes=shapes.Note,
        errors=(400, 413),
    ),
    (f"{PREFIX}/events", "get"): Operation(
        "listen", "What turns do from now on, as server-sent events.", kind=_EVENTS
    ),
    (f"{PREFIX}/traces", "get"): Operation(
        "listTraces", "What turns did, the newest first.", shapes.Traces, query=("limit", "before")
    ),
    (f"{PREFIX}/memory", "delete"): Operation(
        "eraseMemory",
        "Erase all of this memory; with `users=all` that of the key and of all of its users.",
        shapes.Erased,
        query=("users",),
    ),
    (f"{PREFIX}/export", "get"): Operation(
        "exportMemory", "All of this memory, as lines of JSON.", kind=_LINES
    ),
    (f"{PREFIX}/import", "post"): Operation(
        "importMemory",
        "Store an export in this memory, which has to be empty.",
        shapes.Imported,
        takes=_LINES,
        errors=(400, 409, 413),
    ),
    ("/healthz", "get"): Operation(
        "live", "200 while the process lives.", shapes.Health, errors=(), open=True
    ),
    ("/readyz", "get"): Operation(
        "ready", "200 while turns are answered with memory.", shapes.Health, errors=(), open=True
    ),
    ("/metrics", "get"): Operation(
        "metrics", "Metrics for Prometheus.", kind="text/plain", errors=(), open=True
    ),
}
"""What is described, by path and method."""

_SCHEMAS: Mapping[str, tuple[str, Json]] = {
    "user": ("Whose memory within the key's: the `user` of requests.", {"type": "string"}),
    "users": ("`all`, in place of `user`.", {"type": "string", "enum": ["all"]}),
    "query": ('Words, "quoted phrases" and identifiers.', {"type": "string"}),
    "page": ("From 1.", {"type": "integer", "minimum": 1, "default": 1}),
    "limit": ("Entries.", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED}),
    "start_date": ("The first day, in the gateway's time zone.", {"type": "string"}),
    "end_date": ("The last day, which is included.", {"type": "string"}),
    "before": ("The `before` of the last answer.", {"type": "string"}),
}
_ERRORS = {
    400: "The request is at fault; `param` names what.",
    401: "No key, or one that is not accepted.",
    409: "What is there does not go with it.",
    413: "The body is too large.",
    429: "The key has used what it may.",
    503: "Memory, or a place, is not there now; `retry-after` may say when to come again.",
}


def openapi_routes() -> Sequence[BaseRoute]:
    """Return the route of the document; it needs no key."""
    path = f"{PREFIX}/openapi.json"
    return [Route(path, _answer, methods=["GET"], include_in_schema=False)]


async def _answer(_: Request) -> Response:
    return Response(_written(), media_type=_JSON)


@cache
def _written() -> bytes:
    return orjson.dumps(document())


def document() -> Json:
    """Return the document, as JSON has it."""
    paths: dict[str, Json] = {}
    for (path, method), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "memgpt-proxy",
            "version": __version__,
            "description": "What the gateway has of its own. Chat completions, responses and all "
            f"else under /v1 are OpenAI's API ({_OF_OPENAI}).",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _schemas() -> Json:
    models: list[type[BaseModel]] = [shapes.Error]
    for operation in OPERATIONS.values():
        for body in (operation.answers, operation.takes):
            if body is not None and not isinstance(body, str) and body not in models:
                models.append(body)
    _, made = models_json_schema([(each, "serialization") for each in models], ref_template=_AT)
    schemas: Json = made["$defs"]
    return schemas


def _described(operation: Operation) -> Json:
    told: Json = {
        "operationId": operation.name,
        "summary": operation.does,
        "responses": _responses(operation),
    }
    if operation.open:
        return {**told, "security": []}
    told["parameters"] = [_parameter(name) for name in ("user", *operation.query)]
    if operation.takes is not None:
        told["requestBody"] = {"required": True, "content": _content(operation.takes)}
    return told


def _responses(operation: Operation) -> Json:
    answers = operation.answers or operation.kind
    done = {"description": "Done.", "content": _content(answers)}
    if operation.open:
        return {"200": done}
    error = _content(shapes.Error)
    failed = sorted({*operation.errors, 401, 429, 503})
    return {
        "200": done,
        **{str(status): {"description": _ERRORS[status], "content": error} for status in failed},
    }


def _content(what: type[BaseModel] | str) -> Json:
    """Return a body of some shape as JSON, or of a media type that has none."""
    if isinstance(what, str):
        return {what: {"schema": {"type": "string"}}}
    return {_JSON: {"schema": {"$ref": _AT.format(model=what.__name__)}}}


def _parameter(name: str) -> Json:
    does, schema = _SCHEMAS[name]
    return {"name": name, "in": "query", "description": does, "schema": schema}
