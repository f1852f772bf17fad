"""The file of API keys that were issued: their hashes, by the name of who has them.

It is YAML, named by the setting ``keys_file``. A leaf beside ``config``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from memgpt_proxy.settings_sources import read_yaml
from memgpt_proxy.wrong_settings import SettingsError, unknown_name, wrong_value

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyEntry(_Strict):
    """Who has a key.

    Attributes:
        sha256: SHA-256 of the key, in hexadecimal digits; several while one is replaced.
        namespace: The namespace of a key that they had before, whose memory goes on being
            theirs. Unset: one that goes by their name.
        requests_per_minute, tokens_per_minute: In place of the settings of these names.
    """

    sha256: tuple[str, ...]
    namespace: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)

    @field_validator("sha256", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("sha256")
    @classmethod
    def _digests(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_DIGEST.fullmatch(each) for each in value):
            raise ValueError("has to be 64 hexadecimal digits (memgpt-proxy key prints them)")
        return value


class KeysFile(_Strict):
    """All keys that were issued, by the names of those who have them."""

    keys: dict[str, KeyEntry]

    @model_validator(mode="after")
    def _each_is_somebody_s(self) -> Self:
        whose: dict[str, str] = {}
        for name, entry in self.keys.items():
            check_name(name)
            for digest in entry.sha256:
                if whose.setdefault(digest, name) != name:
                    raise ValueError(f"{whose[digest]} and {name} have the same key")
            memory = entry.namespace
            if memory is not None and whose.setdefault(memory, name) != name:
                raise ValueError(f"{whose[memory]} and {name} have the same namespace")
        return self


def check_name(name: str) -> None:
    """Raise ValueError unless it may be the name of who has a key."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name: it has to be 1 to 64 letters, digits and . _ -, and "
            "begin with a letter or a digit"
        )


def read_keys(file: Path) -> KeysFile:
    """Return what a file of keys holds.

    Raises:
        SettingsError: It cannot be read, or something in it is wrong: file, name and field are
            named, a value never shown.
    """
    content = read_yaml(file)
    try:
        return KeysFile.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(_wrong_field(detail) for detail in error.errors())
        raise SettingsError(f"{file}: {wrong}") from None


def _wrong_field(detail: Mapping[str, Any]) -> str:
    known: Iterable[str] = KeysFile.model_fields
    what = wrong_value(detail)
    match detail["loc"]:
        case ("keys", name, "[key]"):
            return f"{name}: is no text as YAML reads it: put the name in quotes"
        case ("keys", name, *path):
            where, known = [str(name)], KeyEntry.model_fields
        case path:
            where = []
    if detail["type"] == "extra_forbidden":
        what = unknown_name("field", str(path[-1]), known)
    return ": ".join([*where, *([".".join(map(str, path))] if path else []), what])
