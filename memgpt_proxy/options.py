"""Settings as options of commands."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.reference import choices_of, default_of, option_name
from memgpt_proxy.settings_sources import SettingsFileError, load_settings

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""What all commands have in common."""

_KEPT_BACK = ("key", "password", "secret", "redis_url")

_NO_URL = ("url_parsing", "url_scheme")
"""Types of errors that a value has which is no URL."""

_KINDS = {"URL", "KEY", "HOST", "PORT", "DIR", "FILE", "MODEL", "ZONE"}
"""Last words of names that say what a value is."""

Command = Callable[..., None]


def setting_options(only: Collection[str] = Settings.model_fields) -> Callable[[Command], Command]:
    """Give a command an option for every setting, or for some; and one for a file of them."""

    def with_options(command: Command) -> Command:
        for name, field in reversed(Settings.model_fields.items()):
            if name in only:
                command = _option(name, field)(command)
        return _CONFIG(command)

    return with_options


def read_settings(file: Path | None, options: dict[str, Any]) -> Settings:
    """Return the settings that a command was given.

    Raises click.ClickException, in one line without keys and passwords, where they are wrong.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return load_settings(given, file)
    except ValidationError as error:
        raise click.ClickException("; ".join(map(_wrong_setting, error.errors()))) from error
    except SettingsFileError as error:
        raise click.ClickException(str(error)) from error


_CONFIG = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=f"{ENV_PREFIX}CONFIG",
    metavar="FILE",
    help="YAML file with settings, by their names in docs/settings.md.",
)


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    if field.annotation is bool:
        flag = f"--{option_name(name)}/--no-{option_name(name)}"
        return click.option(flag, name, default=None, help=_help(field))
    return click.option(
        f"--{option_name(name)}", name, help=_help(field), metavar=_metavar(name, field)
    )


def _metavar(name: str, field: FieldInfo) -> str:
    if choices := choices_of(field):
        return f"[{'|'.join(choices)}]"
    last = name.rsplit("_", 1)[-1].upper()
    return (
        last if last in {"URL", "KEY", "HOST", "PORT", "DIR", "FILE", "MODEL", "ZONE"} else "VALUE"
    )


def _help(field: FieldInfo) -> str:
    default = default_of(field)
    return f"{field.description}  [default: {default}]" if default else str(field.description)


def _wrong_setting(detail: Any) -> str:
    """Return what is wrong with one setting, by its name; a key's value is not shown."""
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    what = detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    if detail["type"] in _NO_URL and not str(given).startswith(("http://", "https://")):
        what = "has to be a URL that begins with http:// or https://"
    shown = f" (it is {given!r})" if isinstance(given, str | int | float) else ""
    if "@" in shown or any(word in name for word in _KEPT_BACK):
        shown = ""  # keys and passwords stay out of logs
    return f"{name}: {what}{shown}" if name else what
