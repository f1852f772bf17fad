"""The page of the benchmarks' results says what the results say."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.page.document import DOCS, PLOTS, write
from benchmarks.page.sections import SECTIONS

pytestmark = pytest.mark.slow

TEXT = "{http://www.w3.org/2000/svg}text"


def words(plot: Path) -> list[str]:
    """All that is written in a plot: names, ticks and figures."""
    return ["".join(text.itertext()) for text in ElementTree.parse(plot).iter(TEXT)]


def test_it_is_what_the_results_make(tmp_path: Path) -> None:
    write(tmp_path)
    written = (DOCS / "results.md").read_text()
    assert (tmp_path / "results.md").read_text() == written, "run python -m benchmarks.page"
    plots = sorted((tmp_path / PLOTS).iterdir())
    assert [plot.name for plot in plots] == [plot.name for plot in sorted((DOCS / PLOTS).iterdir())]
    for plot in plots:
        assert words(plot) == words(DOCS / PLOTS / plot.name), "run python -m benchmarks.page"


def test_every_benchmark_with_results_has_a_part() -> None:
    written = (DOCS / "results.md").read_text()
    there = {path.parent.parent.name for path in DOCS.parent.glob("benchmarks/*/results/*.json")}
    assert {section.name for section in SECTIONS} >= there
    assert [section.name for section in SECTIONS if f"{PLOTS}/{section.name}.svg" in written] == [
        section.name for section in SECTIONS if section.name in there
    ]
