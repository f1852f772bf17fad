"""The recipe of docs/deployment.md for backing up and restoring the embedded store of a pod."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

_PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
_SECTION = _PAGE.partition("## Backup of the embedded store\n")[2].partition("\n## ")[0]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _SECTION, re.MULTILINE | re.DOTALL)


def commands() -> tuple[list[list[str]], list[list[str]]]:
    """Return the commands that back up, and those that restore, each without its namespace."""
    backing, restoring = (
        [shlex.split(line.removeprefix("kubectl -n gateways ")) for line in block.splitlines()]
        for block in _blocks("sh")
    )
    return backing, restoring


def restoring_pod() -> dict[str, Any]:
    """Return the pod that the files are put in with."""
    [pod] = map(yaml.safe_load, _blocks("yaml"))
    return dict(pod)
