"""What is released: wheel and source distribution, what they hold, and that they install clean."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from memgpt_proxy import __version__
from tests.conftest import missing_part
from tests.support.release_tools import ROOT, tools, wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WHEEL = f"memgpt_proxy-{__version__}-py3-none-any.whl"
SDIST = f"memgpt_proxy-{__version__}.tar.gz"


def run(*command: str | Path, **env: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files() -> set[str]:
    """The files of the checkout, without those that git ignores."""
    listed = ("ls-files", "--cached", "--others", "--exclude-standard")
    return set(run("git", "-C", ROOT, *listed).split())


@pytest.fixture(scope="module")
def release_tools() -> Path:
    if not (tools() / "installed").exists() or not wheels().is_dir():
        missing_part("no tools for a release: run python -m tests.support.release_tools")
    return tools()


@pytest.fixture(scope="module")
def built(release_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source distribution, and the wheel that is built from it."""
    directory = tmp_path_factory.mktemp("dist")
    run(release_tools / "python", "-m", "build", "--no-isolation", "--outdir", directory, ROOT)
    return directory


def test_both_are_built_under_the_one_version(built: Path) -> None:
    assert {path.name for path in built.iterdir()} == {WHEEL, SDIST}


def test_the_wheel_holds_the_package_and_its_data_alone(built: Path) -> None:
    with zipfile.ZipFile(built / WHEEL) as wheel:
        names = set(wheel.namelist())
    about = f"memgpt_proxy-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"memgpt_proxy", about}
    tracked = [name for name in files() if name.startswith("memgpt_proxy/")]
    assert names - set(tracked) == {
        f"{about}/{name}"
        for name in (
            "METADATA",
            "RECORD",
            "WHEEL",
            "entry_points.txt",
            "licenses/LICENSE",
            "licenses/memgpt_proxy/tables/LICENSE",
        )
    }
    assert set(tracked) <= names


def test_the_source_distribution_holds_what_is_needed_to_work_on_it(built: Path) -> None:
    with tarfile.open(built / SDIST) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames()}
    tracked = files()
    missing = {name for name in tracked - names if not name.startswith(".ci/")}
    assert missing <= {".gitattributes"}
    assert names - tracked == {"PKG-INFO"}


def test_it_is_built_alike_from_the_checkout(
    built: Path, release_tools: Path, tmp_path: Path
) -> None:
    build = (release_tools / "python", "-m", "build", "--no-isolation", "--wheel")
    run(*build, "--outdir", tmp_path, ROOT)
    assert (tmp_path / WHEEL).read_bytes() == (built / WHEEL).read_bytes()


def test_pipx_gives_the_command(built: Path, release_tools: Path, tmp_path: Path) -> None:
    env = {
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
        "PIPX_DEFAULT_PYTHON": sys.executable,
        "PIPX_DISABLE_SHARED_LIBS_AUTO_UPGRADE": "1",  # else it fetches a pip of its own
        "HOME": str(tmp_path),
    }
    from_wheels = f"--no-index --find-links {wheels()}"
    run(release_tools / "pipx", "install", built / WHEEL, f"--pip-args={from_wheels}", **env)
    command = tmp_path / "bin" / "memgpt-proxy"
    assert run(command, "--version") == f"memgpt-proxy {__version__}\n"
    assert "--backend-url" in run(command, "serve", "--help")
    installed = tmp_path / "pipx" / "venvs" / "memgpt-proxy" / "bin" / "python"
    page = "from memgpt_proxy.api import page; print(*(each.path for each in page.page_routes()))"
    assert {"/memgpt/", "/memgpt/page/main.js"} <= {*run(installed, "-I", "-c", page).split()}
    checked = run(release_tools / "python", "-m", "pip", "--python", installed, "check")
    assert "No broken requirements found." in checked
