"""The file of keys that were issued, and what is said of a wrong one."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from memgpt_proxy.keys_file import KeyEntry, read_keys
from memgpt_proxy.wrong_settings import SettingsError

ONE, TWO = (sha256(key.encode()).hexdigest() for key in ("sk-one", "sk-two"))

SPACE = "0f" * 16


def written(directory: Path, text: str) -> Path:
    file = directory / "keys.yaml"
    file.write_text(text)
    return file


def test_names_have_keys_limits_and_a_memory(tmp_path: Path) -> None:
    text = f"""
keys:
  team-a:
    sha256: {ONE}
    namespace: {"0f" * 16}
  Team_B.2:
    sha256: [{TWO}, {"0a" * 32}]
    requests_per_minute: 7
    tokens_per_minute: 900
"""
    assert read_keys(written(tmp_path, text)).keys == {
        "team-a": KeyEntry(sha256=(ONE,), namespace="0f" * 16),
        "Team_B.2": KeyEntry(sha256=(TWO, "0a" * 32), requests_per_minute=7, tokens_per_minute=900),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "keys: is missing"),
        ("keys: [a]", "keys: should be names with values"),
        ("keys: {a: {}}", "a: sha256: is missing"),
        ("keys: {a: {sha256: sk-secret}}", "a: sha256: has to be 64 hexadecimal digits"),
        ("keys: {a: {sha256: [7]}}", "a: sha256.0: "),
        (f"keys: {{a b: {{sha256: {ONE}}}}}", "'a b' is no name"),
        (f"keys: {{a: {{sha256: {ONE}}}, b: {{sha256: {ONE}}}}}", "a and b have the same key"),
        (f"keys: {{a: {{sha256: {ONE}, namespace: x}}}}", "a: namespace: "),
        (
            f"keys: {{a: &a {{sha256: {ONE}, namespace: {SPACE}}}, b: {{<<: *a, sha256: {TWO}}}}}",
            "a and b have the same namespace",
        ),
        (f"keys: {{1001: {{sha256: {ONE}}}}}", "1001: is no text as YAML reads it"),
        (f"keys: {{a: {{sha256: {ONE}, requests_per_minute: 0}}}}", "a: requests_per_minute: "),
        (
            f"keys: {{a: {{sha256: {ONE}, request_per_minute: 1}}}}",
            "a: request_per_minute: there is no such field; did you mean requests_per_minute?",
        ),
        ("key: {}", "key: there is no such field; did you mean keys?"),
        ("keys: {", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        read_keys(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)
    assert "sk-secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_keys(tmp_path / "keys.yaml")
