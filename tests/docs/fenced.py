"""The fenced blocks of the documentation: every piece of code or text that a reader may copy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGES = (
    CHECKOUT / "README.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    CHECKOUT / "benchmarks" / "README.md",
)

_FENCE = re.compile(r"^ *```(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: its page, from the checkout.
        line: where its code begins, from 1.
        section: the section (``##``) that it stands in; empty before the first.
        language: what stands behind the fence.
        code: what is inside.
        before: the block before it on its page.
    """

    page: str
    line: int
    section: str
    language: str
    code: str
    before: Block | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """Every block, page after page."""
    for path in PAGES:
        yield from _blocks_of(path)


def _blocks_of(path: Path) -> Iterator[Block]:
    text = path.read_text()
    page = path.relative_to(CHECKOUT).as_posix()
    before = None
    for found in _FENCE.finditer(text):
        language, code = found.groups()
        section = ["", *_TITLE.findall(text, 0, found.start())][-1]
        line = text.count("\n", 0, found.start(2)) + 1
        before = Block(page, line, section, language, code, before)
        yield before
