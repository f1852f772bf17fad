"""Keys that the operator has issued: whose they are, and what changes when their file does."""

from __future__ import annotations

import errno
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.api.issued_keys import IssuedKey, IssuedKeys
from memgpt_proxy.errors import Unauthenticated
from memgpt_proxy.stores.limits import Rates

SECRET = bytes(32)
USUAL = Rates(requests=60)


def entry(*keys: str, **more: Any) -> dict[str, Any]:
    return {"sha256": [sha256(key.encode()).hexdigest() for key in keys], **more}


class File:
    """A file of keys that is written as operators do, and as Kubernetes does: by replacing it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **entries: dict[str, Any]) -> None:
        self.put(yaml.safe_dump({"keys": entries}))

    def put(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "keys.yaml")


def authenticator(issued: IssuedKeys, *accepted: str) -> Authenticator:
    return Authenticator(SECRET, accepted, anonymous=False, issued=issued)


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + key.encode())]


def test_a_key_is_found_by_its_hash(file: File) -> None:
    file.write(ann=entry("sk-1", "sk-2", tokens_per_minute=9), bob=entry("sk-3"))
    keys = IssuedKeys(file.path, USUAL)
    ann = IssuedKey("ann", None, Rates(requests=60, tokens=9))
    assert [keys.find(key) for key in (b"sk-1", b"sk-2")] == [ann, ann]
    assert keys.find(b"sk-3") == IssuedKey("bob", None, USUAL)
    assert keys.find(b"sk-4") is None


def test_only_they_are_taken_and_those_that_settings_name(file: File) -> None:
    file.write(ann=entry("sk-1"))
    gate = authenticator(IssuedKeys(file.path, USUAL), "sk-listed")
    assert gate.check(bearer("sk-1")) == b"sk-1"
    assert gate.check(bearer("sk-listed")) == b"sk-listed"
    with pytest.raises(Unauthenticated):
        gate.check(bearer("sk-2"))


def test_an_empty_file_lets_nobody_in(file: File) -> None:
    file.write()
    with pytest.raises(Unauthenticated):
        authenticator(IssuedKeys(file.path, USUAL)).check(bearer("sk-1"))


def test_the_keys_of_one_name_have_one_memory_and_others_another(file: File) -> None:
    file.write(ann=entry("sk-1", "sk-2"), bob=entry("sk-3"))
    gate = authenticator(IssuedKeys(file.path, USUAL), "sk-listed", "ann")
    keys = (b"sk-1", b"sk-2", b"sk-3", b"sk-listed", b"ann")
    for user in (None, "eve"):
        first, second, *others = (gate.namespace(key, user) for key in keys)
        assert first == second
        assert len({first, *others}) == 4
    without = Authenticator(SECRET, (), anonymous=False)
    assert gate.namespace(b"sk-listed", None) == without.namespace(b"sk-listed", None)


def test_a_memory_that_a_key_had_goes_on(file: File) -> None:
    before = Authenticator(SECRET, (), anonymous=False)
    namespace = before.namespace(b"sk-old", None)
    file.write(ann=entry("sk-old", "sk-new", namespace=namespace))
    gate = authenticator(IssuedKeys(file.path, USUAL))
    for key in (b"sk-old", b"sk-new"):
        assert gate.namespace(key, None) == namespace
        assert gate.namespace(key, "eve") == before.namespace(b"sk-old", "eve")


def test_what_changes_is_taken_up(file: File) -> None:
    file.write(ann=entry("sk-1"))
    keys = IssuedKeys(file.path, USUAL)
    file.write(ann=entry("sk-2"), bob=entry("sk-3", requests_per_minute=5))
    keys.look()
    assert keys.find(b"sk-1") is None
    assert keys.find(b"sk-2") == IssuedKey("ann", None, USUAL)
    assert keys.find(b"sk-3") == IssuedKey("bob", None, Rates(requests=5))


@pytest.mark.parametrize("wrong", ["keys: {", "keys: {ann: {sha256: sk-1}}", "", "[" * 5000])
def test_a_mistake_changes_nothing_until_it_is_mended(
    file: File, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(ann=entry("sk-1"))
    keys = IssuedKeys(file.path, USUAL)
    file.put(wrong)
    keys.look()
    keys.look()
    assert keys.find(b"sk-1") is not None
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert told.getMessage().startswith("the keys stay as they were: ")
    assert "sk-1" not in told.getMessage()
    file.write(ann=entry("sk-2"))
    keys.look()
    assert (keys.find(b"sk-1"), keys.find(b"sk-2")) == (None, IssuedKey("ann", None, USUAL))


def test_a_file_that_cannot_be_read_at_first_is_taken_up_once_it_can(
    file: File, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a key that was withdrawn would be taken until the file changes again."""
    file.write(ann=entry("sk-1"))
    keys = IssuedKeys(file.path, USUAL)
    file.write(ann=entry("sk-2"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", _too_many_files)
        keys.look()
        keys.look()
    assert keys.find(b"sk-1") is not None
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    keys.look()
    assert (keys.find(b"sk-1"), keys.find(b"sk-2")) == (None, IssuedKey("ann", None, USUAL))


def _too_many_files(*_: object, **__: object) -> str:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_request_goes_on_as_whose_it_began(file: File) -> None:
    """Else what it writes would be in a memory that nobody has; its limits would be another's."""
    file.write(ann=entry("sk-1", requests_per_minute=5), bob=entry("sk-2"))
    keys = IssuedKeys(file.path, USUAL)
    gate = authenticator(keys, "sk-2")
    before = [gate.namespace(b"sk-1", user) for user in (None, "eve")]
    register = gate.register_of(b"sk-1")
    file.write()
    keys.look()
    keys.look()
    assert [gate.namespace(b"sk-1", user) for user in (None, "eve")] == before
    assert gate.register_of(b"sk-1") == register
    assert gate.issued(b"sk-1") == IssuedKey("ann", None, Rates(requests=5))
    with pytest.raises(Unauthenticated):
        gate.check(bearer("sk-1"))
    assert gate.check(bearer("sk-2")) == b"sk-2"
    listed = Authenticator(SECRET, ("sk-2",), anonymous=False)
    assert gate.namespace(b"sk-2", None) == listed.namespace(b"sk-2", None)


def test_who_has_no_key_left_still_has_their_namespace(file: File) -> None:
    """Their memory can be exported and erased by name."""
    file.write(ann=entry(namespace="0f" * 16))
    assert authenticator(IssuedKeys(file.path, USUAL)).namespace_of("ann", None) == "0f" * 16


def test_a_file_that_goes_away_changes_nothing(file: File) -> None:
    file.write(ann=entry("sk-1"))
    keys = IssuedKeys(file.path, USUAL)
    file.path.unlink()
    keys.look()
    assert keys.find(b"sk-1") is not None
