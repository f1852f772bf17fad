"""Serving what stands around the gateway as the gateway itself is served."""

import uvicorn
from starlette.applications import Starlette


def serve(app: Starlette, port: int) -> None:
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        date_header=False,
    )
