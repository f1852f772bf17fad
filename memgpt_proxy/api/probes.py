"""What operators ask of the gateway itself: whether it is well, and its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from memgpt_proxy.draining import Draining
from memgpt_proxy.stores.protocols import Store, StoreError, StoreFull
from memgpt_proxy.telemetry import Telemetry


def probe_routes(store: Store, telemetry: Telemetry, draining: Draining) -> Sequence[BaseRoute]:
    """Return ``/healthz``, ``/readyz`` and ``/metrics``; none asks for a key."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        told, kind = await asyncio.to_thread(telemetry.exposition, accept)  # some milliseconds
        return Response(told, headers={"content-type": kind})

    async def readyz(_: Request) -> Response:
        if draining.begun:
            return JSONResponse({"status": "draining"}, status_code=503)
        try:
            await store.ping()
        except StoreFull:  # turns are answered, and not stored
            return JSONResponse({"status": "degraded", "store": "full"})
        except StoreError:
            if not store.degraded:
                return JSONResponse({"status": "unavailable", "store": "away"}, status_code=503)
        return JSONResponse({"status": "degraded" if store.degraded else "ok"})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]
