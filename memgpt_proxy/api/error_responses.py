"""Errors of Starlette's routes as answers, in OpenAI's shape like everything else."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from memgpt_proxy.api.checks import listed
from memgpt_proxy.api.owned import PREFIX as MEMORY
from memgpt_proxy.api.passthrough import PREFIX
from memgpt_proxy.errors import GatewayError


async def _gateway_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, GatewayError):
        raise error
    headers = {name.decode(): value.decode() for name, value in error.headers}
    kind = {"content-type": "application/json"}
    return Response(error.body(), status_code=error.status, headers={**kind, **headers})


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer what no route is for."""
    if not isinstance(error, HTTPException):
        raise error
    path = request.url.path
    message = f"{error.detail}: {request.method} {path}. {_way_out(request, path, error)}"
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": body}, status_code=error.status_code, headers=error.headers)


def _way_out(request: Request, path: str, error: HTTPException) -> str:
    takes = (error.headers or {}).get("Allow")
    if takes and path.startswith(MEMORY):
        return f"It takes {listed(sorted(takes.split(', ')))}."
    if path.startswith(MEMORY):
        told = (each for each in request.app.routes if isinstance(each, Route))
        served = (each.path for each in told if each.include_in_schema)
        return f"Of a memory there are {listed(sorted(p for p in served if p.startswith(MEMORY)))}."
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    base = f"{'https' if scheme.startswith('https') else 'http'}://{request.url.netloc}{PREFIX}"
    return f"The API is under {PREFIX}: a client's base URL is {base}"


ERROR_HANDLERS = {HTTPException: _http_error, GatewayError: _gateway_error}
"""What answers each, for an application of Starlette's."""
