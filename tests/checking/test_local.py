"""What is on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from memgpt_proxy.api.authentication import as_setting, load_secret
from memgpt_proxy.checking import local
from memgpt_proxy.checking.findings import Finding, Level
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.secret_mark import mark
from memgpt_proxy.stores.sqlite import SqliteStore

OTHER = "of sixteen characters"


def made(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def secret(directory: Path, setting: str | None = None) -> Finding:
    settings = Settings(data_dir=directory, namespace_secret=setting)
    [finding] = await local.namespace_secret(settings)
    return finding


async def test_a_directory_that_is_there(tmp_path: Path) -> None:
    [finding] = await local.data_directory(Settings(data_dir=tmp_path))
    assert finding.level is Level.OK
    assert str(tmp_path) in finding.said


async def test_one_that_is_made_later_is_not_made_now(tmp_path: Path) -> None:
    later = tmp_path / "one" / "two"
    [finding] = await local.data_directory(Settings(data_dir=later))
    assert finding.level is Level.OK
    assert "made at the first start" in finding.said
    assert made(tmp_path) == []


async def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [finding] = await local.data_directory(Settings(data_dir=tmp_path / "file" / "data"))
    assert finding.level is Level.FAIL


async def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LOW_BYTES", 1 << 80)
    [finding] = await local.data_directory(Settings(data_dir=tmp_path))
    assert finding.level is Level.WARN


async def test_the_secret(tmp_path: Path) -> None:
    assert (await secret(tmp_path)).level is Level.OK
    assert made(tmp_path) == [], "nothing is made"
    kept = load_secret(tmp_path / "namespace.secret")
    assert (await secret(tmp_path)).level is Level.OK
    assert (await secret(tmp_path, as_setting(kept))).level is Level.OK
    assert kept.hex() not in (await secret(tmp_path, as_setting(kept))).said
    assert (await secret(tmp_path / "elsewhere", OTHER)).level is Level.OK


async def test_another_secret_than_that_of_the_memories(tmp_path: Path) -> None:
    load_secret(tmp_path / "namespace.secret")
    finding = await secret(tmp_path, OTHER)
    assert finding.level is Level.WARN
    assert OTHER not in finding.said
    assert "--show-secret" in finding.said


async def test_memories_without_their_secret(tmp_path: Path) -> None:
    (tmp_path / "memory.db").touch()
    finding = await secret(tmp_path)
    assert finding.level is Level.FAIL
    assert "restore" in finding.said


async def test_memories_that_were_begun_with_another_secret(tmp_path: Path) -> None:
    own = load_secret(tmp_path / "namespace.secret")
    store = SqliteStore(tmp_path / "memory.db")
    await store.open()
    assert (await secret(tmp_path)).level is Level.OK
    await store.leave_mark(mark(own))
    await store.close()
    assert (await secret(tmp_path)).level is Level.OK
    assert (await secret(tmp_path, as_setting(own))).level is Level.OK
    set_otherwise = await secret(tmp_path, OTHER)
    (tmp_path / "namespace.secret").unlink()
    load_secret(tmp_path / "namespace.secret")
    for finding in (set_otherwise, await secret(tmp_path)):
        assert finding.level is Level.FAIL
        assert "was begun with another one" in finding.said
    assert (await secret(tmp_path, as_setting(own))).level is Level.WARN


async def test_a_directory_that_cannot_be_looked_into(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("x" * 300))  # as any that is not readable
    [store] = await local.embedded_store(settings)
    [found] = await local.namespace_secret(settings)
    assert {store.level, found.level} == {Level.FAIL}


async def test_a_secret_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "namespace.secret").write_bytes(b"short")
    assert (await secret(tmp_path)).level is Level.FAIL


async def test_the_store(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    [finding] = await local.embedded_store(settings)
    assert finding.level is Level.OK
    assert made(tmp_path) == []
    store = SqliteStore(tmp_path / "memory.db")
    await store.open()
    [finding] = await local.embedded_store(settings)
    await store.close()
    assert finding.level is Level.OK
    (tmp_path / "memory.db").write_bytes(b"no database" * 1000)
    [finding] = await local.embedded_store(settings)
    assert finding.level is Level.FAIL


async def test_replicas_that_have_a_redis_need_the_secret_set(tmp_path: Path) -> None:
    load_secret(tmp_path / "namespace.secret")
    given = {"data_dir": tmp_path, "redis_url": "redis://127.0.0.1:1"}
    [lacking] = await local.namespace_secret(Settings.model_validate(given))
    assert lacking.level is Level.WARN
    assert "redis_url is set without namespace_secret" in lacking.said


DIGEST = "0a" * 32


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        (f"keys: {{a: {{sha256: {DIGEST}}}}}", Level.OK, "1 of 1 names in "),
        ("keys: {}", Level.WARN, "has none: nobody is let in by it"),
        ("keys: {a: {sha256: x}}", Level.FAIL, "a: sha256: has to be 64 hexadecimal digits"),
    ],
)
async def test_the_file_of_keys(tmp_path: Path, text: str, level: Level, said: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    [finding] = await local.issued_keys(file)
    assert finding.level is level
    assert said in finding.said
