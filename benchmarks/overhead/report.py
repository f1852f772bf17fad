"""The results as a Markdown table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.overhead.measure import Plan, Row
from benchmarks.rounds import Figures, Report
from benchmarks.table import rounded

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


def report(plan: Plan, rows: Sequence[Row], versions: Mapping[str, str]) -> Report:
    return Report.of(
        rows,
        versions,
        plan=asdict(plan),
        seconds=plan.target,
        header=HEADER,
        cells=list(map(_cells, rows)),
    )


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
