"""Plots as SVG: bars and lines, in colours that are legible on a light and on a dark page.

The same figures make the same file, byte by byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.table import rounded

GREY, FAINT = "#7d8590", "#7d859040"
OURS, THEIRS = "#2f81f7", "#a0a8b0"
LINES = ("#2f81f7", "#e0823d", "#3fa45b", "#b45cc9", "#d1444b", "#c9a227", "#4fb3bf", "#8c6d5a")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters stay letters
    "svg.hashsalt": "memgpt-proxy",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), GREY),
    **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
}
WIDTH, HEIGHT = 5.2, 2.8  # inches, a panel


@dataclass(frozen=True, slots=True)
class Bars:
    """A figure of each of several things, in one unit. Names of `ours` stand out."""

    title: str
    values: Mapping[str, float]
    ours: frozenset[str]
    logarithmic: bool = False

    def draw(self, axes: Axes) -> None:
        names = list(self.values)[::-1]
        values = [self.values[name] for name in names]
        colours = [OURS if name in self.ours else THEIRS for name in names]
        drawn = axes.barh(names, values, color=colours, height=0.62, log=self.logarithmic)
        axes.bar_label(drawn, [rounded(value) for value in values], padding=4, fontsize=9)
        axes.margins(x=0.18)
        axes.spines["bottom"].set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(left=False, bottom=False, labelbottom=False, which="both")


@dataclass(frozen=True, slots=True)
class Lines:
    """Figures that go with a size: each line's points are pairs of size and figure."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    across: str
    up: str
    logarithmic: bool = True
    """Whether figures are, too: sizes always are."""

    def draw(self, axes: Axes) -> None:
        for (name, points), colour in zip(self.lines.items(), LINES, strict=False):
            axes.plot(*zip(*points, strict=True), marker="o", label=name, color=colour)
        axes.set(xscale="log", xlabel=self.across, ylabel=self.up)
        if self.logarithmic:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.legend(frameon=False, fontsize=8, ncols=2 if len(self.lines) > 4 else 1)


def plot(file: Path, panels: Sequence[Bars | Lines], *, columns: int = 2) -> None:
    """Draw panels side by side, row by row."""
    rows = -(-len(panels) // columns)
    tall = HEIGHT * (1.35 if isinstance(panels[0], Lines) else 0.75)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * columns, tall * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).flat
        for axes, panel in zip(grid, panels, strict=False):
            axes.set_title(panel.title, loc="left")
            panel.draw(axes)
        for axes in list(grid)[len(panels) :]:
            axes.set_axis_off()
        figure.savefig(file, transparent=True, metadata={"Date": None, "Creator": None})
