"""The command ``memgpt-proxy``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from memgpt_proxy import __version__
from memgpt_proxy.config import ENV_PREFIX, Settings, SettingsFileError, load_settings
from memgpt_proxy.reference import choices_of, default_of, option_name, settings_reference
from memgpt_proxy.serve import StartError, serve

_KEPT_BACK = ("key", "password", "secret", "redis_url")

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="memgpt-proxy", message="%(prog)s %(version)s")
def main() -> None:
    """Give any chat-completions model an unbounded memory.

    The gateway speaks OpenAI's API. Point the client you have at its base URL; it remembers
    what is said, by API key, and forwards everything else to the backend.
    """


def _setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting."""
    for name, field in reversed(Settings.model_fields.items()):
        if field.annotation is bool:
            flag = f"--{option_name(name)}/--no-{option_name(name)}"
            option = click.option(flag, name, default=None, help=_help(field))
        else:
            option = click.option(
                f"--{option_name(name)}",
                name,
                help=_help(field),
                metavar=_metavar(name, field),
            )
        command = option(command)
    return command


def _metavar(name: str, field: FieldInfo) -> str:
    if choices := choices_of(field):
        return f"[{'|'.join(choices)}]"
    last = name.rsplit("_", 1)[-1].upper()
    return last if last in {"URL", "KEY", "HOST", "PORT", "DIR", "MODEL", "ZONE"} else "VALUE"


def _help(field: FieldInfo) -> str:
    default = default_of(field)
    return f"{field.description}  [default: {default}]" if default else str(field.description)


@main.command("serve", context_settings=_CONTEXT)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=f"{ENV_PREFIX}CONFIG",
    metavar="FILE",
    help="YAML file with settings, by their names in docs/settings.md.",
)
@_setting_options
def serve_command(file: Path | None, **options: Any) -> None:
    """Start the gateway.

    Without --backend-url it looks for Ollama, LM Studio, llama.cpp and vLLM on this machine
    and, finding none, starts with the demo backend, a small rule-based model.

    Each option is also an environment variable (--context-window is MEMGPT_CONTEXT_WINDOW)
    and a name in the YAML file (context_window). The command line wins over the environment,
    the environment over the file.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = load_settings(given, file)
    except ValidationError as error:
        wrong = "; ".join(_wrong_setting(detail) for detail in error.errors())
        raise click.ClickException(wrong) from error
    except SettingsFileError as error:
        raise click.ClickException(str(error)) from error
    try:
        serve(settings)
    except StartError as error:
        raise click.ClickException(str(error)) from error


@main.command("settings", context_settings=_CONTEXT)
def settings_command() -> None:
    """Print the settings reference, as Markdown."""
    click.echo(settings_reference(), nl=False)


def _wrong_setting(detail: Any) -> str:
    """Return what is wrong with one setting, by its name; a key's value is not shown."""
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    what = detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    shown = f" (it is {given!r})" if isinstance(given, str | int | float) else ""
    if "@" in shown or any(word in name for word in _KEPT_BACK):
        shown = ""  # keys and passwords stay out of logs
    return f"{name}: {what}{shown}" if name else what
