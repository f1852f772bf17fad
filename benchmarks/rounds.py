"""Benchmarks that measure in rounds: their rows, and what is kept of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.conditions import Conditions, keep
from benchmarks.table import line

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of results: figures of each round by name (milliseconds, microseconds, MB)."""

    label: str
    rounds: Sequence[Figures]

    def medians(self) -> Figures:
        names = self.rounds[0]
        return {name: median(figures[name] for figures in self.rounds) for name in names}


@dataclass(frozen=True, slots=True)
class Report:
    """All that is kept of one run: on what, how, and what was found.

    Attributes:
        plan: Fields of the plan that it followed.
        seconds: What a load lasted.
        cells: Of the table, one row for each of `rows`.
    """

    conditions: Conditions
    plan: Mapping[str, Any]
    seconds: float
    rows: Sequence[Row]
    header: Sequence[str]
    cells: Sequence[Sequence[str]]

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        versions: Mapping[str, str],
        *,
        plan: Mapping[str, Any],
        seconds: float,
        header: Sequence[str],
        cells: Sequence[Sequence[str]],
    ) -> Self:
        """Make the report of a run that has just ended; its first row tells how busy it was."""
        busy = max(figures["busy"] for figures in rows[0].rounds)
        return cls(Conditions.now(busy, versions), plan, seconds, rows, header, cells)

    def write(self, directory: Path) -> None:
        medians = {row.label: row.medians() for row in self.rows}
        found = {"plan": self.plan, "rows": list(map(asdict, self.rows)), "medians": medians}
        keep(directory, self.conditions, self.markdown(), found)

    def markdown(self) -> str:
        table = [line(self.header), line(["---"] * len(self.header)), *map(line, self.cells)]
        plan = f"Medians of {self.plan['rounds']} round(s), {self.seconds:g} s a load."
        return "\n".join([*table, "", plan, self.conditions.markdown(), ""])
