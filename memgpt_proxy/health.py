"""Whether the gateway on this machine is alive: ``python -m memgpt_proxy.health``.

It asks ``/healthz`` at the port of ``MEMGPT_PORT`` (8484) and exits with 0 or 1. An image's health
check runs it every few seconds, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

DEFAULT_PORT = "8484"
SECONDS = 4.0


def why_unhealthy(port: int) -> str | None:
    """Return what is wrong with the gateway at a port of this machine, or None."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"no answer at port {port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"/healthz answers with {status}"


def main() -> None:
    """Exit with 0 if the gateway is alive, otherwise with one line that says why not."""
    sys.exit(why_unhealthy(int(os.environ.get("MEMGPT_PORT", DEFAULT_PORT))))


if __name__ == "__main__":
    main()
