"""A real Prometheus, built from its Go module, that scrapes gateways and is asked afterwards."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import cache_directory
from benchmarks.process import Command, free_port, running

VERSION = "v0.316.0"
"""Of the Go module: Prometheus 3.16.0 is v0.316.0 there."""
MODULE = "github.com/prometheus/prometheus"
TAGS = "remove_all_sd"
"""Without clients of clouds: targets are given."""

Series = list[tuple[float, float]]


def program() -> Path:
    """Return the program; it is built once, in some minutes."""
    directory = cache_directory("dashboard") / f"prometheus-{VERSION}"
    built = directory / "prometheus"
    if not built.exists():
        directory.mkdir(exist_ok=True)
        (directory / "go.mod").write_text("module prometheus-build\n\ngo 1.25\n")
        command = f"{MODULE}/cmd/prometheus"
        subprocess.run(["go", "get", f"{command}@{VERSION}"], cwd=directory, check=True)
        build = ["go", "build", "-tags", TAGS, "-o", str(built), command]
        subprocess.run(build, cwd=directory, check=True)
    return built


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one."""

    origin: str

    def asked(
        self, expression: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], Series]]:
        """Return the series of an expression over time, each with its labels."""
        query = {"query": expression, "start": start, "end": end, "step": step}
        url = f"{self.origin}/api/v1/query_range?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url) as answer:
            told = json.load(answer)["data"]["result"]
        return [
            (each["metric"], [(float(at), float(value)) for at, value in each["values"]])
            for each in told
        ]


@contextmanager
def scraping(targets: Sequence[str], directory: Path, cores: Sequence[int]) -> Iterator[Prometheus]:
    """Run one that scrapes these addresses each second."""
    port = free_port()
    config = directory / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {"job_name": "memgpt-proxy", "static_configs": [{"targets": list(targets)}]}
                ],
            }
        )
    )
    arguments = [
        str(program()),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(Command(arguments, directory / "prometheus.log"), cores) as process:
        process.wait_until_ready(f"http://127.0.0.1:{port}/-/ready")
        yield Prometheus(f"http://127.0.0.1:{port}")
