"""The table, and the figures it is made of."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.stores.measure import Times
from benchmarks.table import rounded


@dataclass(frozen=True, slots=True)
class Row:
    """One family at one size.

    Attributes:
        namespaces: How many share the store.
        messages: What each of them holds.
        filled: Messages taken over in a second.
        bytes_each: Disk that a message takes, with its share of everything else.
        turns: Turns read and written in a second, 64 at once.
    """

    family: str
    namespaces: int
    messages: int
    filled: float
    bytes_each: float
    turns: float
    times: dict[str, Times]


@dataclass(frozen=True, slots=True)
class Report:
    rows: Sequence[Row]
    versions: dict[str, str]
    busy: float

    def markdown(self) -> str:
        return "\n\n".join([*map(self._table, self._families()), self._about()])

    def write(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        told: dict[str, Any] = {
            "machine": machine(),
            "versions": self.versions,
            "busy": self.busy,
            "rows": [asdict(row) for row in self.rows],
        }
        (directory / "latest.json").write_text(json.dumps(told, indent=1) + "\n")
        (directory / "latest.md").write_text(self.markdown() + "\n")

    def _families(self) -> list[str]:
        return list(dict.fromkeys(row.family for row in self.rows))

    def _table(self, family: str) -> str:
        rows = [row for row in self.rows if row.family == family]
        head = [f"{row.namespaces} × {rounded(row.messages)}" for row in rows]
        lines = [
            f"| **{family}**: namespaces × messages | {' | '.join(head)} |",
            f"|---|{'---|' * len(rows)}",
        ]
        for asked in rows[0].times:
            lines.append(f"| {asked}, p50 / p99 ms | {' | '.join(_cell(rows, asked))} |")
        figures = {
            "turns/s, 64 at once": [rounded(row.turns) for row in rows],
            "messages/s, filling": [rounded(row.filled) for row in rows],
            "disk a message, bytes": [rounded(row.bytes_each) for row in rows],
        }
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in figures.items()]
        return "\n".join(lines)

    def _about(self) -> str:
        told = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        where = ", ".join(machine().values())
        return f"{told}; {where}; {100 * self.busy:.0f} % busy with other work before."


def _cell(rows: Sequence[Row], asked: str) -> list[str]:
    first = rows[0].times[asked].median
    return [_times(row.times[asked], first, is_first=row is rows[0]) for row in rows]


def _times(times: Times, first: float, *, is_first: bool) -> str:
    told = f"{rounded(times.median)} / {rounded(times.p99)}"
    return told if is_first else f"{told} (×{times.median / first:.2g})"
