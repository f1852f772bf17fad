"""The settings reference, made from the settings themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic.fields import FieldInfo

from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.setting_groups import GROUPS
from memgpt_proxy.settings_sources import option_name

_HEAD = """\
# Settings

Each setting has one name. It is an option of `memgpt-proxy serve`, an environment variable,
and a name in the YAML file given by `--config` (or `MEMGPT_CONFIG`). The command line wins
over the environment, the environment over the file. A wrong value stops the start with one
line that names it and says where it comes from; so does an unknown name in the file. A variable
that begins with `MEMGPT_` and is none gets a warning. Either tells the name that is near.

A relative path in the file is relative to the file, any other to the working directory.

This page is printed by `memgpt-proxy settings`.
"""

_GROUP = """
## {title}

| setting | option | environment | default | meaning |
|---|---|---|---|---|
"""


def settings_reference() -> str:
    """Return the reference of all settings, as Markdown."""
    return _HEAD + "".join(
        _GROUP.format(title=title) + "".join(map(_row, names)) for title, names in GROUPS.items()
    )


def default_of(field: FieldInfo) -> str:
    """Return a setting's default as it is written; empty where it has none or is made."""
    match field.default:
        case bool() as value:
            return str(value).lower()
        case StrEnum() | str() | int() | float() as value:
            return str(value)
        case tuple() as values:
            return ",".join(map(str, values))
        case _:
            return ""


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the values that a setting can have, where they are few."""
    kind: Any = field.annotation
    is_choice = isinstance(kind, type) and issubclass(kind, StrEnum)
    return tuple(str(choice) for choice in kind) if is_choice else ()


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    option, variable = f"`--{option_name(name)}`", f"`{ENV_PREFIX}{name.upper()}`"
    default = f"`{text}`" if (text := default_of(field)) else ""
    choices = ", ".join(f"`{choice}`" for choice in choices_of(field))
    meaning = f"{field.description} One of {choices}." if choices else field.description
    return f"| `{name}` | {option} | {variable} | {default} | {meaning} |\n"
