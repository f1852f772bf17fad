"""The results as a Markdown table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.conditions import Conditions, keep
from benchmarks.fleet.measure import IDLE_STREAMS, Figures, Plan, Row
from benchmarks.table import line, rounded

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


@dataclass(frozen=True, slots=True)
class Report:
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
        plan = f"Medians of {self.plan.rounds} round(s), {self.plan.seconds:g} s a load."
        return "\n".join([*table, "", plan, self.conditions.markdown(), ""])


def report(plan: Plan, rows: Sequence[Row], versions: Mapping[str, str]) -> Report:
    busy = max(figures["busy"] for figures in rows[0].rounds)
    return Report(Conditions.now(busy, versions), plan, rows)


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
