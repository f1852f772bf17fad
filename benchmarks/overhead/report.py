"""The results as a Markdown table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.overhead.measure import Figures, Plan, Row
from benchmarks.table import line, rounded

HEADER = (
    "one core",
    "1 client, p50 / p99 ms",
    "16 clients, p50 / p99 ms",
    "requests/s, 64 clients (× direct)",
    "CPU per request, µs",
    "first token, 64 streams, p50 / p99 ms",
    "chunks/s (× direct)",
    "CPU per chunk, µs",
    "memory idle / loaded, MB",
)


@dataclass(frozen=True, slots=True)
class Report:
    """All that is kept of one run: when, on what, how, and what was found."""

    time: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    plan: Plan
    rows: Sequence[Row]

    def write(self, directory: Path) -> None:
        """Write latest.md and latest.json; those of an earlier run are replaced."""
        directory.mkdir(exist_ok=True)
        (directory / "latest.md").write_text(self.markdown())
        (directory / "latest.json").write_text(self.json())

    def json(self) -> str:
        medians = {row.label: row.medians() for row in self.rows}
        return json.dumps(asdict(self) | {"medians": medians}, indent=2) + "\n"

    def markdown(self) -> str:
        return "\n".join([*self._table(), "", *self._notes(), ""])

    def _table(self) -> list[str]:
        rows = [_cells(row, self.versions) for row in self.rows]
        return [line(HEADER), line(["---"] * len(HEADER)), *map(line, rows)]

    def _notes(self) -> list[str]:
        busy = max(figures["busy"] for figures in self.rows[0].rounds)
        facts = ", ".join(f"{name}: {value}" for name, value in self.machine.items())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        plan = self.plan
        return [
            f"{self.time}, medians of {plan.rounds} round(s), {plan.target:g} s a load.",
            f"Machine: {facts}; busy with other work before a round: at most {busy:.0%}.",
            f"Versions: {versions}.",
        ]


def report(plan: Plan, rows: Sequence[Row], versions: Mapping[str, str]) -> Report:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(now, machine(), versions, plan, rows)


def _cells(row: Row, versions: Mapping[str, str]) -> list[str]:
    figures = row.medians()
    sign = "" if row.target == "direct" else "+"
    errors = figures["errors"]
    return [
        row.label + (f" ({errors:.0f} errors)" if errors else ""),
        _pair(figures, "latency_1", sign),
        _pair(figures, "latency_16", sign),
        _rate(figures, "requests"),
        _number(figures, "cpu_per_request_us"),
        _pair(figures, "first_text", sign),
        _rate(figures, "pieces"),
        _number(figures, "cpu_per_chunk_us"),
        f"{_number(figures, 'idle_mb')} / {_number(figures, 'loaded_mb')}",
    ]


def _pair(figures: Figures, name: str, sign: str) -> str:
    parts = [figures.get(f"{name}_{part}_ms") for part in ("p50", "p99")]
    return " / ".join("–" if part is None else _signed(part, sign) for part in parts)


def _signed(milliseconds: float, sign: str) -> str:
    return f"{sign if milliseconds >= 0 else ''}{rounded(milliseconds)}"


def _rate(figures: Figures, name: str) -> str:
    if f"{name}_ratio" not in figures:
        return _number(figures, f"{name}_per_second")
    return f"{_number(figures, f'{name}_per_second')} ({figures[f'{name}_ratio']:.3f})"


def _number(figures: Figures, name: str) -> str:
    return rounded(figures[name]) if name in figures else "–"
