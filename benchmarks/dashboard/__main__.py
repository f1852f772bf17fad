"""Fill the dashboard by a load and draw it: python -m benchmarks.dashboard [--write]."""

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path

from benchmarks.dashboard.grafana import FILE, text
from benchmarks.dashboard.load import talk
from benchmarks.dashboard.panels import Panel
from benchmarks.dashboard.picture import Line, page, photograph
from benchmarks.dashboard.prometheus import Prometheus, scraping
from benchmarks.machine import scratch_directory
from benchmarks.process import Command, Cores, free_port, running

WINDOW = "15s"
"""Over which rates are taken; Grafana chooses a longer one for scrapes each half minute."""
LABEL = re.compile(r"\{\{(\w+)\}\}")


def main() -> None:
    options = _options()
    if options.write:
        FILE.write_text(text(), encoding="utf-8")
        return
    with scratch_directory("dashboard", "run") as directory:
        html, empty = _filled(options.people, options.seconds, directory)
    options.output.mkdir(parents=True, exist_ok=True)
    written = options.output / "dashboard.html"
    written.write_text(html, encoding="utf-8")
    photographed = photograph(written.absolute(), (options.output / "dashboard.png").absolute())
    print(f"{written}{' and dashboard.png' if photographed else ''}")
    print("Panels without data:", ", ".join(empty) or "none")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the chart's file, no more")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--output", type=Path, default=Path("dashboard"), help="a directory")
    return parser.parse_args()


def _filled(people: int, seconds: float, directory: Path) -> tuple[str, list[str]]:
    """Run gateway, backend, Prometheus and load; return the page, and which panels are empty."""
    cores = Cores.split()
    backend, gateway = free_port(), free_port()
    serving = [sys.executable, "-m", "benchmarks.dashboard.backend", str(backend)]
    with (
        running(Command(serving, directory / "backend.log"), cores.others) as mock,
        running(_gateway(backend, gateway, directory), (cores.measured,)) as measured,
        scraping([f"127.0.0.1:{gateway}"], directory, cores.others) as prometheus,
    ):
        mock.wait_until_ready(f"http://127.0.0.1:{backend}/v1/models")
        measured.wait_until_ready(f"http://127.0.0.1:{gateway}/readyz")
        start = time.time()
        asyncio.run(talk(f"http://127.0.0.1:{gateway}/v1", people, seconds))
        end = time.time()
        return page(lambda panel: _lines(prometheus, panel, start, end))


def _gateway(backend: int, port: int, directory: Path) -> Command:
    options = ["--port", str(port), "--backend-url", f"http://127.0.0.1:{backend}/v1"]
    options += ["--context-window", "4096", "--data-dir", str(directory / "data")]
    options += ["--requests-per-minute", "100"]
    return Command([sys.executable, "-m", "memgpt_proxy", "serve", *options], directory / "log")


def _lines(prometheus: Prometheus, panel: Panel, start: float, end: float) -> list[Line]:
    lines = []
    for query in panel.queries:
        expression = query.expression.replace("$__rate_interval", WINDOW)
        asked = prometheus.asked(expression.replace("$instance", ".*"), start, end, 1)
        for labels, points in asked:
            lines.append(Line(_named(query.legend, labels), points))
    return lines


def _named(legend: str, labels: dict[str, str]) -> str:
    return LABEL.sub(lambda found: labels.get(found[1], ""), legend)


if __name__ == "__main__":
    main()
