"""Install the clients that are not yet installed: ``python -m tests.clients``."""

from __future__ import annotations

import sys

from tests.clients.environments import NotInstalled
from tests.clients.roster import ENVIRONMENTS


def main() -> int:
    """Install what is missing; the number of clients that could not be installed."""
    failures = 0
    for environment in ENVIRONMENTS:
        try:
            environment.ensure()
        except NotInstalled as failure:
            sys.stderr.write(f"The client {environment.folder} is not installed: {failure}\n")
            failures += 1
    return failures


if __name__ == "__main__":
    raise SystemExit(main())
