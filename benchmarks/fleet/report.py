"""The results as a Markdown table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.fleet.measure import IDLE_STREAMS, Figures, Plan, Row
from benchmarks.machine import machine
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
    versions: Mapping[str, str]
    plan: Plan
    rows: Sequence[Row]

    def write(self, directory: Path) -> None:
        """Write latest.md and latest.json; those of an earlier run are replaced."""
        directory.mkdir(exist_ok=True)
        told = {**asdict(self), "machine": machine(), "time": _now()}
        (directory / "latest.json").write_text(json.dumps(told, indent=1) + "\n")
        (directory / "latest.md").write_text(self.markdown() + "\n")

    def markdown(self) -> str:
        rows = [_cells(row) for row in self.rows]
        busy = max(figures["busy"] for row in self.rows for figures in row.rounds)
        table = [line(HEADER), line(["---"] * len(HEADER)), *map(line, rows)]
        about = ", ".join(machine().values())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        notes = [
            f"{_now()}, medians of {self.plan.rounds} round(s), {self.plan.seconds:g} s a load.",
            f"{versions}; {about}; at most {busy:.0%} busy with other work before a round.",
        ]
        return "\n".join([*table, "", *notes])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
