"""The documentation as a site: it builds without a warning, and no page is left out."""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGES = {"README.md", "CHANGELOG.md", "benchmarks/README.md"}
DOCS = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "docs").rglob("*.md")}
OF_CLIENTS = {page for page in DOCS if page.startswith("docs/clients/")}
"""To these docs/clients.md leads."""


def pages_of(entries: list[dict[str, Any]]) -> Iterator[str]:
    """The pages of a navigation, sections within sections."""
    for entry in entries:
        for under in entry.values():
            if isinstance(under, str):
                yield under
            else:
                yield from pages_of(under)


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = tomllib.loads((CHECKOUT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(pages_of(navigation)) == sorted(DOCS | PAGES)


def test_the_readme_leads_to_every_page() -> None:
    text = (CHECKOUT / "README.md").read_text()
    there = (DOCS | PAGES) - OF_CLIENTS - {"README.md"}
    assert [page for page in there if f"]({page})" not in text] == []


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_its_links_lead_somewhere() -> None:
    built = subprocess.run(
        ["scripts/site"],
        cwd=CHECKOUT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "No issues found" in built.stdout + built.stderr
    built_pages = ["index.html", "benchmarks/index.html"]
    built_pages += ["docs/how-it-works.html", "docs/clients/curl.html"]
    for page in built_pages:
        assert (CHECKOUT / "build" / "site" / page).is_file()
