"""The baseline: a server that reads a request and parses it, and does nothing else."""

import gc
import sys

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.long_conversation.server import serve

COLLECT_AT = (10_000, 50, 50)
"""As the gateway has it: collections are part of the price of a parsed request."""


async def read(request: Request) -> Response:
    orjson.loads(await request.body())
    return Response()


async def ready(_: Request) -> Response:
    return Response()


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(*COLLECT_AT)
    routes = [Route("/read", read, methods=["POST"]), Route("/ready", ready)]
    serve(Starlette(routes=routes), int(sys.argv[1]))
