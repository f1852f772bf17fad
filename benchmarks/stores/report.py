"""The table, and the figures it is made of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.conditions import Conditions, keep
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
    conditions: Conditions
    rows: Sequence[Row]

    def markdown(self) -> str:
        tables = map(self._table, self._families())
        return "\n\n".join([*tables, self.conditions.markdown()]) + "\n"

    def write(self, directory: Path) -> None:
        found = {"rows": list(map(asdict, self.rows))}
        keep(directory, self.conditions, self.markdown(), found)

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


def _cell(rows: Sequence[Row], asked: str) -> list[str]:
    first = rows[0].times[asked].median
    return [_times(row.times[asked], first, is_first=row is rows[0]) for row in rows]


def _times(times: Times, first: float, *, is_first: bool) -> str:
    told = f"{rounded(times.median)} / {rounded(times.p99)}"
    return told if is_first else f"{told} (×{times.median / first:.2g})"
