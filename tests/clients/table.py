"""The table of clients in the documentation: ``python -m tests.clients.table`` prints it."""

from __future__ import annotations

import re
import sys

from tests.clients.roster import BEHAVIOURS, CLIENTS, Client

_ENDINGS = ("requirements.txt", "package-lock.json", "go.mod")


def table() -> str:
    """The table, with notes on what clients lack."""
    reasons: dict[str, int] = {}
    lines = [_row(["client", "version", *BEHAVIOURS]), "|---|---" + "|:-:" * len(BEHAVIOURS) + "|"]
    for client in CLIENTS:
        marks = [_mark(client.cannot.get(behaviour), reasons) for behaviour in BEHAVIOURS]
        lines.append(_row([client.name, version(client), *marks]))
    meanings = "; ".join(f"*{name}*: {meaning}" for name, meaning in BEHAVIOURS.items())
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, "", f"{meanings}.", "", *notes])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mark(reason: str | None, reasons: dict[str, int]) -> str:
    if reason is None:
        return "✓"
    return f"[{reasons.setdefault(reason, len(reasons) + 1)}]"


def version(client: Client) -> str:
    """The locked version of a client's package."""
    name = re.escape(client.package)
    pattern = (
        rf'^{name}==([\w.]+)|"node_modules/{name}": {{\s*"version": "([^"]+)"|{name} v([\w.]+)'
    )
    for path in client.environment.source.iterdir():
        if path.name in _ENDINGS and (found := re.search(pattern, path.read_text(), re.MULTILINE)):
            return next(filter(None, found.groups()))
    raise LookupError(f"no lock names {client.package}")


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
