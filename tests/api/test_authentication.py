"""Keys to namespaces."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.api.authentication import Authenticator, as_setting, load_secret, secret_of
from memgpt_proxy.config import Settings
from memgpt_proxy.errors import Unauthenticated

SECRET = bytes(32)


def authenticator(*accepted: str, anonymous: bool = False, secret: bytes = SECRET) -> Authenticator:
    return Authenticator(secret, accepted, anonymous=anonymous)


@pytest.mark.parametrize("header", [b"Bearer sk-1", b"bearer sk-1", b"BEARER   sk-1 "])
def test_a_bearer_key_is_read(header: bytes):
    assert authenticator().check([(b"authorization", header)]) == b"sk-1"


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer ", b"Basic abc", b"sk-1"])
def test_anything_else_is_no_key(header: bytes):
    with pytest.raises(Unauthenticated) as refused:
        authenticator().check([(b"authorization", header)])
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


def test_anonymous_use_has_to_be_allowed():
    with pytest.raises(Unauthenticated):
        authenticator().check([])
    assert authenticator(anonymous=True).check([]) == b""


def test_only_accepted_keys_are_taken_where_some_are_named():
    gate = authenticator("sk-1", "sk-2")
    assert gate.check([(b"authorization", b"Bearer sk-2")]) == b"sk-2"
    with pytest.raises(Unauthenticated) as refused:
        gate.check([(b"authorization", b"Bearer sk-3")])
    assert "sk-3" not in refused.value.message


@given(
    st.lists(st.tuples(st.binary(max_size=8), st.none() | st.text(max_size=8)), unique=True),
)
def test_no_two_owners_share_a_namespace(owners: list[tuple[bytes, str | None]]):
    gate = authenticator()
    assert len({gate.namespace(key, user) for key, user in owners}) == len(owners)


def test_a_namespace_tells_nothing_of_its_key_and_depends_on_the_secret():
    ours, theirs = authenticator(), authenticator(secret=b"1" * 32)
    assert ours.namespace(b"sk-1", None) == authenticator().namespace(b"sk-1", None)
    assert ours.namespace(b"sk-1", None) != theirs.namespace(b"sk-1", None)
    assert "sk-1" not in ours.namespace(b"sk-1", "ann")
    assert "ann" not in ours.namespace(b"sk-1", "ann")


def test_the_secret_is_made_once_for_its_owner_only(tmp_path: Path):
    path = tmp_path / "namespace.secret"
    secret = load_secret(path)
    assert len(secret) == 32
    assert load_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_start_that_was_broken_off_leaves_no_part_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "namespace.secret"

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            load_secret(path)
    assert not path.exists()
    assert len(load_secret(path)) == 32
    assert [each.name for each in tmp_path.iterdir()] == ["namespace.secret"]


def test_something_else_in_the_secrets_place_is_refused(tmp_path: Path):
    path = tmp_path / "namespace.secret"
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match=r"namespace\.secret"):
        load_secret(path)
    assert path.read_bytes() == b"short"


def test_without_a_setting_the_secret_is_that_of_the_data_directory(tmp_path: Path):
    secret = secret_of(Settings(data_dir=tmp_path))
    assert load_secret(tmp_path / "namespace.secret") == secret
    assert secret_of(Settings(data_dir=tmp_path)) == secret


def test_no_secret_is_made_beside_memories_that_were_kept_with_another(tmp_path: Path):
    (tmp_path / "memory.db").touch()
    with pytest.raises(ValueError, match=r"namespace\.secret is missing beside memory\.db"):
        secret_of(Settings(data_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["memory.db"]
    secret_of(Settings(data_dir=tmp_path, namespace_secret="of sixteen characters"))
    load_secret(tmp_path / "namespace.secret")
    secret_of(Settings(data_dir=tmp_path))


def test_a_set_secret_makes_no_file(tmp_path: Path):
    secret_of(Settings(data_dir=tmp_path, namespace_secret="of sixteen characters"))
    assert list(tmp_path.iterdir()) == []


@given(st.binary(min_size=32, max_size=32), st.text(min_size=1), st.none() | st.text())
def test_a_secret_that_moved_into_the_settings_means_the_same_namespaces(
    secret: bytes, key: str, user: str | None
):
    setting = as_setting(secret)
    asked = (key.encode("utf-8", "surrogatepass"), user)
    before = authenticator(secret=secret).namespace(*asked)
    for form in (setting, setting.upper()):
        moved = secret_of(Settings(namespace_secret=form))
        assert authenticator(secret=moved).namespace(*asked) == before


@given(st.text(min_size=16), st.text(min_size=16))
def test_any_long_text_is_a_secret_of_its_own(one: str, other: str):
    secrets = [secret_of(Settings(namespace_secret=text)) for text in (one, other)]
    assert all(len(secret) == 32 for secret in secrets)
    assert (secrets[0] == secrets[1]) == (one == other)


def test_nearly_a_secret_of_digits_is_a_text_like_any_other():
    digits = "ab" * 32
    assert secret_of(Settings(namespace_secret=digits)) == b"\xab" * 32
    for text in (f"{digits} ", f"{digits}0", digits[1:], "xy" * 32):
        assert secret_of(Settings(namespace_secret=text)) != b"\xab" * 32
