"""The dashboard as a page to look at: its panels drawn from what Prometheus says."""

import math
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks.dashboard.panels import ROWS, Panel

WIDTH, HEIGHT, LEFT, BOTTOM = 380, 190, 52, 22
COLOURS = (
    *("#5794f2", "#73bf69", "#fade2a", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d"),
    *("#ffee52", "#ffb357", "#ff7383", "#ca95e5", "#1f60c4", "#37872d", "#c4162a", "#8f3bb8"),
)
PAGE = """<!doctype html><meta charset="utf-8"><title>memgpt-proxy</title><style>
body{{background:#111217;color:#ccccdc;font:12px system-ui,sans-serif;margin:16px;width:1640px}}
h2{{font-size:14px;margin:14px 0 6px}} .row{{display:flex;gap:8px}}
.panel{{background:#181b1f;border:1px solid #2c2f36;padding:8px;width:390px}}
.panel b{{font-weight:500}} .legend span{{margin-right:10px;white-space:nowrap}}
i{{font-style:normal}} text{{fill:#8e8e9e;font-size:10px}} .none{{fill:#f2495c;font-size:14px}}
</style>{body}"""


@dataclass(frozen=True, slots=True)
class Line:
    """One series, and what it is called."""

    name: str
    points: Sequence[tuple[float, float]]


Asked = Callable[[Panel], list[Line]]


def page(asked: Asked) -> tuple[str, list[str]]:
    """Return the page as HTML, and the titles of panels that show nothing."""
    parts, empty = [], []
    for row in ROWS:
        parts.append(f"<h2>{escape(row.title)}</h2><div class=row>")
        for panel in row.panels:
            lines = asked(panel)
            if not any(line.points for line in lines):
                empty.append(f"{row.title}: {panel.title}")
            parts.append(_panel(panel, lines))
        parts.append("</div>")
    return PAGE.format(body="".join(parts)), empty


def photograph(html: Path, picture: Path) -> bool:
    """Write the page as a picture, by Chromium; return False where there is none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return False
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--window-size=1680,1850", f"--screenshot={picture}", html.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    return True


def _panel(panel: Panel, lines: list[Line]) -> str:
    legend = " ".join(
        f'<span><i style="color:{_colour(n)}">■</i> {escape(line.name)} '
        f"{_shown(line.points[-1][1], panel.unit) if line.points else '–'}</span>"
        for n, line in enumerate(lines)
    )
    return (
        f'<div class=panel title="{escape(panel.about)}"><b>{escape(panel.title)}</b>'
        f"{_graph(panel, lines)}<div class=legend>{legend}</div></div>"
    )


def _graph(panel: Panel, lines: list[Line]) -> str:
    values = [value for line in lines for _, value in line.points if math.isfinite(value)]
    if not values:
        return _svg(f'<text class=none x="{WIDTH // 2 - 30}" y="{HEIGHT // 2}">No data</text>')
    times = [at for line in lines for at, _ in line.points]
    top = max(values) or 1.0
    start, span = min(times), max(times) - min(times) or 1.0
    parts = [_scale(panel, top)]
    for number, line in enumerate(lines):
        points = " ".join(
            f"{LEFT + (at - start) / span * (WIDTH - LEFT):.1f},{_height(value / top):.1f}"
            for at, value in line.points
            if math.isfinite(value)
        )
        parts.append(
            f'<polyline fill="none" stroke="{_colour(number)}" stroke-width="1.5" '
            f'points="{points}"/>'
        )
    return _svg("".join(parts))


def _scale(panel: Panel, top: float) -> str:
    return "".join(
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{_height(part)}" y2="{_height(part)}" '
        f'stroke="#2c2f36"/><text x="0" y="{_height(part) + 4}">'
        f"{_shown(part * top, panel.unit)}</text>"
        for part in (0, 0.25, 0.5, 0.75, 1)
    )


def _height(part: float) -> float:
    return 8 + (1 - part) * (HEIGHT - BOTTOM)


def _svg(content: Iterable[str]) -> str:
    return f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(content)}</svg>'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _shown(value: float, unit: str) -> str:
    """Return a value as a person reads it."""
    if math.isnan(value):
        return "–"
    match unit:
        case "percentunit":
            return f"{value:.1%}"
        case "s":
            return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
        case "bytes":
            return f"{value / 2**20:.0f} MiB"
        case _ if value >= 1000:
            return f"{value / 1000:.3g} K"
        case _:
            return f"{value:.3g}"
