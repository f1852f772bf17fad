"""The results as a Markdown table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.conditions import Conditions, keep
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
    """All that is kept of one run: on what, how, and what was found."""

    conditions: Conditions
    plan: Plan
    rows: Sequence[Row]

    def write(self, directory: Path) -> None:
        medians = {row.label: row.medians() for row in self.rows}
        found = {"plan": asdict(self.plan), "rows": list(map(asdict, self.rows))}
        keep(directory, self.conditions, self.markdown(), found | {"medians": medians})

    def markdown(self) -> str:
        rows = map(_cells, self.rows)
        table = [line(HEADER), line(["---"] * len(HEADER)), *map(line, rows)]
        plan = f"Medians of {self.plan.rounds} round(s), {self.plan.target:g} s a load."
        return "\n".join([*table, "", plan, self.conditions.markdown(), ""])


def report(plan: Plan, rows: Sequence[Row], versions: Mapping[str, str]) -> Report:
    busy = max(figures["busy"] for figures in rows[0].rounds)
    return Report(Conditions.now(busy, versions), plan, rows)


def _cells(row: Row) -> list[str]:
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
