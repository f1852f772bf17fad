"""Where Elasticsearch and the Java that runs it are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import elasticsearch_build as build


def jdk(directory: Path, version: str, modules: str = "java.base jdk.jdi") -> Path:
    directory.mkdir()
    (directory / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return directory


@pytest.mark.parametrize(
    ("version", "modules", "suits"),
    [
        ("21.0.4", "java.base jdk.jdi", True),
        ("25", "java.base jdk.jdi", True),
        ("17.0.15", "java.base jdk.jdi", False),
        ("1.8.0", "jdk.jdi", False),
        ("25.0.3", "java.base", False),
    ],
)
def test_a_whole_jdk_that_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, modules: str, *, suits: bool
) -> None:
    home = jdk(tmp_path / "jdk", version, modules)
    monkeypatch.setenv("MEMGPT_TEST_JAVA_HOME", str(home))
    assert build.java_home() == (home if suits else None)


def test_a_named_directory_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMGPT_TEST_ELASTICSEARCH_HOME", str(tmp_path))
    assert build.elasticsearch_home() == tmp_path
    assert not build.is_complete(tmp_path)


def test_the_cache_is_one_that_the_servers_user_may_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMGPT_TEST_ELASTICSEARCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = f"elasticsearch-{build.VERSION}"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert build.elasticsearch_home() == tmp_path / "cache" / "memgpt-proxy" / name
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (tmp_path / "cache").mkdir(mode=0o700)
    assert build.elasticsearch_home() == build.SHARED_CACHE / name
