"""The results as a Markdown table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.fleet.measure import IDLE_STREAMS, Plan
from benchmarks.rounds import Figures, Report, Row
from benchmarks.table import rounded

HEADER = (
    "full memory",
    "1 client, p50 / p99 ms",
    "requests/s, 64 clients",
    "their p50, ms",
    "CPU per request, µs",
    "requests/s a core would do",
    "first token, 64 streams, p50 / p99 ms",
    "memory idle / loaded, MB",
    f"with {IDLE_STREAMS} idle streams, MB",
)


def report(plan: Plan, rows: Sequence[Row], versions: Mapping[str, str]) -> Report:
    return Report.of(
        rows,
        versions,
        plan=asdict(plan),
        seconds=plan.seconds,
        header=HEADER,
        cells=list(map(_cells, rows)),
    )


def _cells(row: Row) -> list[str]:
    figures = row.medians()
    return [
        row.label,
        _added(figures, "latency"),
        rounded(figures["requests_per_second"]),
        rounded(figures["busy_p50_ms"]),
        rounded(figures["cpu_per_request_us"]),
        rounded(1e6 / figures["cpu_per_request_us"]),
        _added(figures, "first_text"),
        f"{rounded(figures['idle_mb'])} / {rounded(figures['loaded_mb'])}",
        rounded(figures["streams_mb"]),
    ]


def _added(figures: Figures, name: str) -> str:
    return " / ".join(f"{figures[f'{name}_{part}_ms']:+.2f}" for part in ("p50", "p99"))
