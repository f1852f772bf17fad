"""The clients' pages of the documentation: what each tells to install, set and run.

``python -m tests.clients.pages`` writes the locked versions into what they tell to install.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.clients.environments import Environment
from tests.clients.roster import ENVIRONMENTS
from tests.clients.table import version
from tests.docs.fenced import CHECKOUT, Block, blocks

FOLDER = "docs/clients/"
INSTALLERS = ("pip install ", "pipx install ", "npm install ", "go get ")

_PINNED = re.compile(r"([\w@/.-]*\w)((?:\[\w+\])?(?:==|@v?))\d[\w.]*")
_PRINTED = re.compile(
    r"^.*(?:\bprint\(|console\.log\(|stdout\.write\(|fmt\.Print).* (?:#|//) (.+)$", re.MULTILINE
)
_PRINTED_BY_COMMANDS = re.compile(r"^# (.+)$", re.MULTILINE)


def page_of(environment: Environment) -> Path:
    """A client's page has the name of its folder."""
    return CHECKOUT / FOLDER / f"{environment.folder}.md"


def environment_of(block: Block) -> Environment | None:
    """The client whose page a block is on; None where nothing is installed for it."""
    folder = Path(block.page).stem
    return next((each for each in ENVIRONMENTS if each.folder == folder), None)


def client_blocks() -> list[Block]:
    """Every block of every client's page."""
    return [block for block in blocks() if block.page.startswith(FOLDER)]


def earlier(block: Block) -> list[Block]:
    """The blocks before it on its page, the first one first."""
    before = block.before
    return [] if before is None else [*earlier(before), before]


def is_install(block: Block) -> bool:
    return block.language == "sh" and block.code.startswith(INSTALLERS)


def said(block: Block) -> list[str]:
    """What a block says that it prints: the comments behind what prints, or beneath commands."""
    pattern = _PRINTED_BY_COMMANDS if block.language == "sh" else _PRINTED
    return pattern.findall(block.code)


def pinned(text: str, environment: Environment) -> str:
    """A page's text with the locked versions in what it tells to install."""

    def locked(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{version(environment, found[1])}"

    return "\n".join(
        _PINNED.sub(locked, line) if line.startswith(INSTALLERS) else line
        for line in text.split("\n")
    )


if __name__ == "__main__":
    for environment in ENVIRONMENTS:
        page = page_of(environment)
        page.write_text(pinned(page.read_text(), environment))
