"""What the project carries besides code: tokenizer tables and locks."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

from memgpt_proxy import __version__

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "memgpt_proxy" / "tables"
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PUBLISHED = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"

COUNT_OFFLINE = """
import socket, sys, tiktoken
def refuse(*args, **kwargs): raise AssertionError("a download was tried")
socket.getaddrinfo = socket.socket.connect = refuse
print(tiktoken.get_encoding(sys.argv[1]).encode("hello world"))
"""


@pytest.mark.parametrize(
    ("encoding", "sha256"),
    [
        ("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
        ("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"),
    ],
)
def test_tables_are_the_published_ones(encoding: str, sha256: str):
    name = hashlib.sha1(PUBLISHED.format(encoding).encode()).hexdigest()
    assert hashlib.sha256((TABLES / name).read_bytes()).hexdigest() == sha256
    readme = (TABLES / "README.md").read_text()
    assert name in readme
    assert sha256 in readme


@pytest.mark.parametrize(
    ("encoding", "hello_world"),
    [("cl100k_base", [15339, 1917]), ("o200k_base", [24912, 2375])],
)
def test_tiktoken_reads_the_tables_without_a_network(encoding: str, hello_world: list[int]):
    counted = subprocess.run(
        [sys.executable, "-c", COUNT_OFFLINE, encoding],
        env={**os.environ, "TIKTOKEN_CACHE_DIR": str(TABLES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert counted.stdout.strip() == str(hello_world)


def locked(path: Path) -> dict[str, str]:
    """Each locked package with its version."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", path.read_text(), re.MULTILINE))


def named(requirements: list[str]) -> set[str]:
    """The packages that requirements name."""
    return {re.split(r"[<>=!~\[; ]", line)[0] for line in requirements}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_a_hash_and_no_address(lock: Path):
    text = lock.read_text()
    assert "://" not in text
    pinned = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert pinned
    assert [entry for entry in pinned if "--hash=sha256:" not in entry] == []


def test_runtime_and_development_agree_on_versions():
    runtime = locked(ROOT / "requirements" / "runtime.txt")
    assert runtime.items() <= locked(ROOT / "requirements" / "dev.txt").items()


def test_the_image_has_what_is_tested_less_what_builds_it():
    image = locked(ROOT / "requirements" / "image.txt")
    assert image.items() <= locked(ROOT / "requirements" / "dev.txt").items()
    assert not {"hatchling", "editables"} & image.keys()


def test_the_image_has_what_is_depended_on_and_what_sends_spans():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    assert named(asked) <= locked(ROOT / "requirements" / "image.txt").keys()


def test_the_image_is_labelled_with_the_one_version():
    told = re.findall(r"^ARG VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert told == [__version__]


def test_the_chart_has_the_one_version():
    about = yaml.safe_load((ROOT / "charts" / "memgpt-proxy" / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_the_changelog_and_the_version_agree():
    """What is not released stands first; releases go down to the first, and begin at the version.

    Before its release a version has no heading yet: then the newest heading is an older one.
    """
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = headings[1:] if headings[:1] == ["Unreleased"] else headings
    versions = []
    for heading in released:
        version, _, day = heading.partition(" - ")
        assert date.fromisoformat(day).isoformat() == day, heading
        versions.append(numbers(version))
    now = numbers(__version__)
    assert versions == sorted(set(versions), reverse=True)
    assert versions[:1] <= [now], "the version is not below a release's"
    assert headings[:1] == ["Unreleased"] or versions[:1] == [now]


def test_every_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    depended = named(project["dependencies"])
    assert depended <= locked(ROOT / "requirements" / "runtime.txt").keys()
