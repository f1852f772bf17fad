"""The page: a part for each benchmark that has results."""

from pathlib import Path

from benchmarks.conditions import CHECKOUT
from benchmarks.page.plots import plot
from benchmarks.page.sections import SECTIONS, Found, Section

DOCS = CHECKOUT / "docs"
PLOTS = "results"
HEAD = """\
# Results

What the last whole run of each benchmark found, written by `python -m benchmarks`. Each tells when
and on what it was made: compare rows of one run, not of two. What the columns mean is in
[benchmarks](../benchmarks/README.md), what follows from them in [performance](performance.md).
"""


def write(docs: Path) -> None:
    """Write results.md and its plots into the documentation's directory."""
    (docs / PLOTS).mkdir(exist_ok=True)
    parts = [HEAD]
    for section in SECTIONS:
        if found := section.found():
            plot(docs / PLOTS / f"{section.name}.svg", section.panels(found))
            parts.append(_part(section, found))
    (docs / "results.md").write_text("\n".join(parts))


def _part(section: Section, found: Found) -> str:
    picture = f"![{section.title}: plots of the figures below]({PLOTS}/{section.name}.svg)"
    said = f"{section.about} **{section.tells(found)}**"
    return "\n\n".join([f"## {section.title}", said, picture, section.table()]) + "\n"
