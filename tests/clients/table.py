"""The table of clients in the documentation: ``python -m tests.clients.table`` prints it."""

from __future__ import annotations

import re
import sys

from tests.clients.environments import Environment
from tests.clients.roster import BEHAVIOURS, CLIENTS

_ENDINGS = ("requirements.txt", "package-lock.json", "go.mod")


def table() -> str:
    """The table, with notes on what clients lack."""
    reasons: dict[str, int] = {}
    lines = [_row(["client", "version", *BEHAVIOURS]), "|---|---" + "|:-:" * len(BEHAVIOURS) + "|"]
    for client in CLIENTS:
        marks = [_mark(client.cannot.get(behaviour), reasons) for behaviour in BEHAVIOURS]
        lines.append(_row([client.name, version(client.environment, client.package), *marks]))
    meanings = "; ".join(f"*{name}*: {meaning}" for name, meaning in BEHAVIOURS.items())
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, "", f"{meanings}.", "", *notes])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mark(reason: str | None, reasons: dict[str, int]) -> str:
    if reason is None:
        return "✓"
    return f"[{reasons.setdefault(reason, len(reasons) + 1)}]"


def version(environment: Environment, package: str) -> str:
    """The locked version of a package of a client's."""
    name = re.escape(package)
    pattern = (
        rf'^{name}==([\w.]+)|"node_modules/{name}": {{\s*"version": "([^"]+)"|{name} v([\w.]+)'
    )
    for path in environment.source.iterdir():
        if path.name in _ENDINGS and (found := re.search(pattern, path.read_text(), re.MULTILINE)):
            return next(filter(None, found.groups()))
    raise LookupError(f"no lock names {package}")


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
