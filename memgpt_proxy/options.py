"""Settings as options of commands."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, get_args

import click
from pydantic.fields import FieldInfo

from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.reference import choices_of, default_of
from memgpt_proxy.setting_groups import GROUPS
from memgpt_proxy.settings_sources import load_settings, option_name
from memgpt_proxy.wrong_settings import SettingsError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""What all commands have in common."""

_KINDS = frozenset(
    "DIR FILE HEADERS HOST KEY KEYS MIB MODEL PASSWORD PORT SECONDS SECRET URL ZONE".split()
)
"""Last words of names that say what a value is."""

Command = Callable[..., None]


class SettingsCommand(click.Command):
    """A command with settings, which its help shows in groups behind its own options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the help page."""
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        records = {str(each.name): each.get_help_record(ctx) for each in options}
        own = [name for name in records if name not in Settings.model_fields]
        for title, names in {"Options": own, **GROUPS}.items():
            if shown := [record for name in names if (record := records.get(name))]:
                with formatter.section(title):
                    formatter.write_dl(shown)


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
    except SettingsError as error:
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
    if last in _KINDS:
        return last
    return "NUMBER" if {int, float} & {field.annotation, *get_args(field.annotation)} else "VALUE"


def _help(field: FieldInfo) -> str:
    default = default_of(field)
    return f"{field.description}  [default: {default}]" if default else str(field.description)
