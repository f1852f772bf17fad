"""The settings reference, made from the settings themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic.fields import FieldInfo

from memgpt_proxy.config import ENV_PREFIX, Settings

_HEAD = """\
# Settings

Each setting has one name. It is an option of `memgpt-proxy serve`, an environment variable,
and a name in the YAML file given by `--config` (or `MEMGPT_CONFIG`). The command line wins
over the environment, the environment over the file. A wrong value stops the start with one
line that names it.

This page is printed by `memgpt-proxy settings`.

| setting | option | environment | default | meaning |
|---|---|---|---|---|
"""


def settings_reference() -> str:
    """Return the reference of all settings, as Markdown."""
    rows = (_row(name, field) for name, field in Settings.model_fields.items())
    return _HEAD + "".join(f"{row}\n" for row in rows)


def option_name(name: str) -> str:
    """Return the command-line option of a setting, without its dashes."""
    return name.replace("_", "-")


def _row(name: str, field: FieldInfo) -> str:
    option, variable = f"`--{option_name(name)}`", f"`{ENV_PREFIX}{name.upper()}`"
    meaning = f"{field.description}{_choices(field.annotation)}"
    return f"| `{name}` | {option} | {variable} | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    match field.default:
        case None | ():
            return ""
        case StrEnum() | str() | int() | float() as value:
            return f"`{value}`" if not isinstance(value, bool) else f"`{str(value).lower()}`"
        case _:
            return ""  # made when needed; the description tells


def _choices(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return f" One of {', '.join(f'`{choice}`' for choice in annotation)}."
    return ""
