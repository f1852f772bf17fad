"""The scripts of the checkout: each tells what it does before it does anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
OF_ITS_COMMAND = {"serve"}
"""Scripts that hand all options on, --help too."""


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", sorted({path.name for path in SCRIPTS.iterdir()} - OF_ITS_COMMAND))
def test_a_script_helps_and_does_nothing_else(name: str, flag: str, tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [f"scripts/{name}", flag],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"scripts/{name}")
    assert "#" not in done.stdout
    assert len(done.stdout.splitlines()) >= 2, "how it is called, and what it does"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_scripts_serve_helps_as_its_command_does() -> None:
    done = subprocess.run(
        [SCRIPTS / "serve", "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.startswith("Usage: memgpt-proxy serve")
